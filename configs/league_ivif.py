"""League of infrared-visible fusers: rules, published networks with their own weights, and those of mmfusion, on three
sets of pairs.

    mmfusion league league_ivif --work-dir work_dirs/league

docs/en/league.md says where weights come from; rows without are left out with the reason.
"""
_base_ = './_base_/detectors/yolox_nano.py'

title = 'League of infrared-visible fusers'
remark = ('Own parts of public sets, not their official test sets: no official benchmark. Published networks run with the weights that their '
          'authors published, whatever these were trained on.')

_config = dict(tardal='tardal_ivif_batch_statistics')  # as its authors run tardal.pt
_rule, _own = dict(kind='rule'), dict(kind='mmfusion')
_published = dict(  # title, official files
    densefuse=('DenseFuse', 'densefuse_gray.model'),
    ifcnn=('IFCNN', 'IFCNN-MAX.pth'),
    seafusion=('SeAFusion', 'SeAFusion.pth'),
    didfuse=('DIDFuse', 'Encoder_weight_IJCAI.pkl Decoder_weight_IJCAI.pkl'),
    tardal=('TarDAL', 'tardal.pt'),
    sage=('SAGE', 'checkpoints.pt'),
    lesefuse=('LeSeFuse', 'weights_epoch_50.pt'),
    gifnet=('GIFNet', 'Final.model'),
    smoa=('SMoA', 'encoder1_epoch50.pt encoder2_epoch50.pt decoder_epoch50.pt'))
methods = dict(
    visible=dict(kind='source', model=dict(type='SourceFuser', source='first'), title='visible alone'),
    infrared=dict(kind='source', model=dict(type='SourceFuser', source='second'), title='infrared alone'),
    average=dict(_rule, model='AverageFuser'),
    maximum=dict(_rule, model='MaximumFuser'),
    laplacian=dict(_rule, model='LaplacianPyramidFuser', title='Laplacian pyramid'),
    **{name: dict(model=_config.get(name, f'{name}_ivif'), weights=f'checkpoints/{name}.pth', title=title,
                  get=f'mmfusion convert {name} {file} checkpoints/{name}.pth') for name, (title, file) in _published.items()},
    # nearly black without the stretch that its program applies
    lrrnet=dict(model=dict(type='LRRNet', stretch_sources=True, stretch=True), weights='checkpoints/lrrnet.pth',
                title='LRRNet, stretched', get='mmfusion convert lrrnet FILE checkpoints/lrrnet.pth'),
    refusion=dict(model=dict(type='ReFusion'), weights='checkpoints/refusion_ivif.pth', title='ReFusion',
                  get='mmfusion convert tdfusion FILE checkpoints/refusion_ivif.pth'),
    plain_conv_det=dict(_own, model='plain_conv_det', remark='Learned from YOLOX-nano itself, on the pairs of MSRS/train.'),
    tdfusion=dict(_own, model='tdfusion', remark='Its loss was learned with YOLOX-nano, on the pairs of MSRS/train.'),
    **{name: dict(_own, model=name, remark='Not blind: its rule and the gain of its loss were chosen after a look at figures on these sets.')
       for name in ('plain_conv_rendered', 'plain_conv')},
    **{name: dict(_own, model=name) for name in ('moe_fusion', 'tim')})

_folder = dict(type='PairFolderDataset', data_root='data/RoadScene/', data_prefix=dict(first='vi', second='ir'))
pairs = dict(
    msrs=dict(title='MSRS', dataset=dict(type='MSRSDetDataset', data_root='data/MSRS/', split='test'),
              remark='The 50 pairs of data/MSRS/test. Boxes of people, bicycles and cars.'),
    roadscene=dict(title='RoadScene', dataset=dict(_folder, indices=list(range(37, 56))),
                   remark='The last 19 of 56 pairs by name, with which nothing of mmfusion was trained. No labels.'),
    m3fd=dict(title='M3FD', dataset=dict(type='M3FDDataset', data_root='data/M3FD/'), remark='Ten pairs. Boxes of six classes.'))

protocol = 'cddfuse'
metrics = ('EN', 'SD', 'SF', 'AG', 'MI', 'SCD', 'VIF', 'Qabf', 'SSIM')
networks = dict(yolox_nano=dict(title='YOLOX-nano from COCO', network=_base_.detector, image_size=(640, 480), pairs=('msrs', 'm3fd')))
cost = dict(image_size=(640, 480), repeats=5, reference='plain_conv_rendered')

# Trainings of a task network on the pictures of every method take hours; an entry each, for those who have them:
# courses = dict(m3fd_det=dict(title='trained RTMDet-s', config='downstream_m3fd', seeds=(0, 1, 2)))
courses = dict()
