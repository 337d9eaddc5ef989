"""Both stages of TIM for infrared-visible fusion, as published (TPAMI 2024, arXiv 2305.15862): the fuser."""
fuser = dict(type='TwoStageTIM', branches=dict(visible='ivif_visible', infrared='ivif_infrared'), stage1='fusion', merge='mask')
