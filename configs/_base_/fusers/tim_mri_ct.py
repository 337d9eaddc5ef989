"""Both stages of TIM for MRI and CT, as published: the fuser."""
fuser = dict(type='TwoStageTIM', branches=dict(mri='mri_ct_mri', ct='mri_ct_ct'), stage1='fusion', merge='concat')
