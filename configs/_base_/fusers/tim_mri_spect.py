"""Both stages of TIM for MRI and SPECT, as published: the fuser."""
fuser = dict(type='TwoStageTIM', branches=dict(mri='mri_spect_mri', spect='mri_spect_spect'), stage1='fusion', merge='concat')
