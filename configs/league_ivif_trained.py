"""The league of league_ivif.py with one more column: YOLOX-nano fine-tuned on the MSRS pictures of each method, two
seeds.

    mmfusion league league_ivif_trained --work-dir work_dirs/league

What league_ivif has measured in the same folder is read. A method costs some ten minutes of one core; --only names
those that are wanted.
"""
_base_ = './league_ivif.py'
courses = dict(msrs_det=dict(title='fine-tuned YOLOX-nano', config='downstream_msrs_det_light', seeds=(0, 1)))
