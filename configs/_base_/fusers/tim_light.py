"""The small TIM network, published for its latency and used without a second stage: the fuser."""
fuser = dict(type='TIM', genotype='fusion_light')
