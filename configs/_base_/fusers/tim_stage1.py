"""Stage 1 of TIM alone, as published: the fuser."""
fuser = dict(type='TIM', genotype='fusion')
