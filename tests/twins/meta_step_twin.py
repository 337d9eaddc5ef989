"""A slow, literal twin of TDFusion's meta step: shadow parameters, gradients in ``.grad`` with their graph, the task
network saved to a file.

It is the published algorithm as it is printed and programmed, on the literal networks of ``tdfusion_twin.py``; it
shares no code with MetaCoupling. Run as a script in this folder it times MetaCoupling against it. At the published
sizes it takes more than 16 GiB of memory; a quarter of them:
``python meta_step_twin.py --crop 128 128 --task 120 160 --segmentor ../configs/_base_/segmentors/segformer_b0.py``.
"""

import argparse
import os
import statistics
import tempfile
import time

import torch
import torch.nn.functional as F
from tdfusion_twin import fuser_twin, loss_module_twin


class Shadow:
    """A module whose parameters are read from a dict of other tensors."""

    def __init__(self, module, values, prefix=''):
        self._module, self._values, self._prefix = module, values, prefix

    def __getattr__(self, name):
        key = f'{self._prefix}{name}'
        return (
            self._values[key] if key in self._values else Shadow(getattr(self._module, name), self._values, f'{key}.')
        )

    def __iter__(self):
        return (Shadow(child, self._values, f'{self._prefix}{index}.') for index, child in enumerate(self._module))


def sobel(image):
    kernel = image.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    across = F.conv2d(image, kernel[None, None], padding=1)
    down = F.conv2d(image, kernel.t()[None, None], padding=1)
    return across, down


def fusion_loss_twin(fused, a, b, weights):
    """Intensity term under squared weights plus gradient term, one channel each."""
    loss = ((weights[:, :1] * (a - fused)) ** 2).mean() + ((weights[:, 1:] * (b - fused)) ** 2).mean()
    for f, da, db in zip(sobel(fused), sobel(a), sobel(b)):
        loss = loss + (f - torch.where(da.abs() >= db.abs(), da, db)).abs().mean()
    return loss


def meta_step_twin(fuser, generator, task, task_loss, crop, inner, outer, task_optimizer, lr, folder):
    """One meta step; ``crop``, ``inner`` and ``outer`` are (first, second) with labels behind for the latter two.

    Args:
        fuser: A ReFusion, whose weights are read.
        generator: A LossGenerationModule, which is updated.
        task: The task network.
        task_loss: From (fused image, labels) to the loss of the task network.
        crop: (first, second), each (N, 1, H, W), for the fusion loss.
        inner: (first, second, labels) for the task network's step.
        outer: (first, second, labels) for the outer loss.
        task_optimizer: Optimizer of the task network, which is left with what this step did to it.
        lr: Learning rate of both steps by hand.
        folder: Where the task network is kept meanwhile.

    Returns:
        dict: ``loss_f``, ``loss_inner``, ``loss_outer``, and the gradient by name of the generator's parameters.
    """
    path = os.path.join(folder, 'task.pth')
    torch.save(task.state_dict(), path)
    fuser.zero_grad()
    loss_f = fusion_loss_twin(fuser_twin(fuser, *crop), *crop, loss_module_twin(generator, *crop))
    loss_f.backward(create_graph=True)
    shadows = {name: parameter.detach() - lr * parameter.grad for name, parameter in fuser.named_parameters()}

    loss_inner = task_loss(fuser_twin(fuser, *inner[:2]).detach(), inner[2])
    task_optimizer.zero_grad()
    loss_inner.backward()
    task_optimizer.step()

    generator.zero_grad()
    task_optimizer.zero_grad()
    loss_outer = task_loss(fuser_twin(Shadow(fuser, shadows), *outer[:2]), outer[2])
    loss_outer.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in generator.named_parameters()}
    largest = max(gradient.abs().max().item() for gradient in gradients.values())
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if largest > 0:
                parameter -= lr * gradients[name] / largest
    task.load_state_dict(torch.load(path, weights_only=True))
    for module in (fuser, generator, task):
        module.zero_grad()  # the published program leaves graphs behind in .grad
    return dict(loss_f=loss_f.item(), loss_inner=loss_inner.item(), loss_outer=loss_outer.item(), gradients=gradients)


def make_sides(crop_size, task_size, segmentor, lr=1e-4, eps=1e-8):
    """MetaCoupling's step and the twin's on the same weights and batches, as functions that return what they logged."""
    import tiny_models
    from mmengine.optim import OptimWrapper, OptimWrapperDict

    from mmfusion.models.couplings.steps.pair_batch import PairBatch, swap_roles
    from mmfusion.registry import MODELS

    torch.manual_seed(0)
    build = dict(
        type='MetaCoupling',
        fuser=dict(type='ReFusion'),
        loss_generator=dict(type='LossGenerationModule'),
        fusion_loss=dict(learned=dict(type='LearnedFusionLoss')),
        tasks=dict(seg=segmentor),
    )
    ours, theirs = MODELS.build(build).train(), MODELS.build(build).train()
    theirs.load_state_dict(ours.state_dict())
    batches = []
    for seed, size in enumerate((crop_size, task_size, task_size)):
        inputs, samples = tiny_models.make_batch(1, *size, seed=seed, first_channels=1)
        batches.append(swap_roles(PairBatch(inputs, samples)))
    adams = [torch.optim.Adam(model.tasks.parameters(), lr=lr, eps=eps) for model in (ours, theirs)]
    wrappers = OptimWrapperDict(
        fuser=OptimWrapper(torch.optim.Adam(ours.fuser.parameters(), lr=lr)), tasks=OptimWrapper(adams[0])
    )
    folder = tempfile.TemporaryDirectory()
    plain = [(batch.inputs['first'], batch.inputs['second'], batch.samples) for batch in batches]

    def task_loss(image, samples):
        return theirs.parse_losses(theirs.task_losses(image, samples))[0]

    def twin():
        parts = (theirs.fuser, theirs.loss_generator, theirs.tasks)
        return meta_step_twin(*parts, task_loss, plain[0][:2], plain[1], plain[2], adams[1], lr, folder.name)

    return ours, theirs, lambda: ours.meta_update(*batches, wrappers), twin


def main():
    from mmengine.config import Config

    from mmfusion.utils import register_all_modules

    parser = argparse.ArgumentParser(
        description='Time the meta step of MetaCoupling against the literal one; CPU time, in turns.'
    )
    parser.add_argument('--crop', type=int, nargs=2, default=(256, 256), help='height and width for the fusion loss')
    parser.add_argument('--task', type=int, nargs=2, default=(240, 320), help='height and width for the task')
    parser.add_argument(
        '--segmentor', default='configs/_base_/segmentors/segformer_b0.py', help='config with `segmentor`, or "tiny"'
    )
    parser.add_argument('--rounds', type=int, default=3)
    args = parser.parse_args()
    register_all_modules()
    if args.segmentor == 'tiny':
        import tiny_models

        segmentor = tiny_models.segmentor()
    else:
        segmentor = Config.fromfile(args.segmentor).segmentor
    ours, twin = make_sides(args.crop, args.task, segmentor)[2:]
    times = {'MetaCoupling': [], 'twin': []}
    for _ in range(args.rounds):
        for name, step in (('MetaCoupling', ours), ('twin', twin)):
            start = time.process_time()
            step()
            times[name].append(time.process_time() - start)
            print(f'{name}: {times[name][-1]:.2f} CPU s', flush=True)
    mine, literal = (min(values) for values in times.values())
    middle = statistics.median(a / b for a, b in zip(*times.values()))
    print(
        f'{torch.get_num_threads()} threads, crop {tuple(args.crop)}, task {tuple(args.task)}: '
        f'least {mine:.2f} s and {literal:.2f} s, '
        f'ratio {mine / literal:.3f} (median of the rounds {middle:.3f})'
    )


if __name__ == '__main__':
    main()
