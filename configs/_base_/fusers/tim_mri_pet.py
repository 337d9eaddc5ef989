"""Both stages of TIM for MRI and PET, as published: the fuser."""
fuser = dict(type='TwoStageTIM', branches=dict(mri='mri_pet_mri', pet='mri_pet_pet'), stage1='fusion', merge='concat')
