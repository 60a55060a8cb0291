"""Two tensors, norm-wise: max|ours - theirs| / max|theirs|."""
import torch


def distance(ours, theirs):
    """Norm-wise distance; where theirs is zero throughout, 0 if ours is too, else infinite."""
    if theirs.numel() == 0:
        return 0.0
    difference = (ours.double() - theirs.double()).abs().max().item()
    scale = theirs.double().abs().max().item()
    if scale == 0.0:
        return 0.0 if difference == 0.0 else float("inf")
    return difference / scale


def complaint(name, ours, theirs, tolerance):
    """None where they agree; else one line with both numbers at the worst place."""
    if ours.shape != theirs.shape:
        return f"{name}: shape {list(ours.shape)}, transformers has {list(theirs.shape)}"
    found = distance(ours, theirs)
    if found <= tolerance:
        return None
    worst = (ours.double() - theirs.double()).abs().argmax().item()
    place = [index.item() for index in torch.unravel_index(torch.tensor(worst), ours.shape)]
    return (f"{name}: max|a-b|/max|b| = {found:.2e} > {tolerance:.0e}; at {place} "
            f"dsmoe {ours.flatten()[worst].item():.9g}, transformers {theirs.flatten()[worst].item():.9g}, "
            f"max|b| {theirs.abs().max().item():.3g}")


def complaints(ours, theirs, tolerance):
    """Lines on what is missing, unexpected or different among two dictionaries of tensors.

    Tensors without elements need not be there; a buffer without a gradient may be there as zeros.
    """
    lines = []
    for name in sorted(theirs):
        if theirs[name].numel() > 0 and name not in ours:
            lines.append(f"{name}: missing")
        elif name in ours:
            lines.append(complaint(name, ours[name], theirs[name], tolerance))
    lines += [f"{name}: transformers has no such tensor" for name in sorted(ours)
              if name not in theirs and ours[name].count_nonzero() > 0]
    return [line for line in lines if line]


def bitwise_complaints(ours, theirs):
    """Lines on every difference of names, dtypes, shapes or bits."""
    lines = [f"{name}: missing" for name in sorted(theirs) if name not in ours]
    lines += [f"{name}: unexpected" for name in sorted(ours) if name not in theirs]
    for name in sorted(set(ours) & set(theirs)):
        a, b = ours[name], theirs[name]
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            lines.append(f"{name}: {a.dtype} {list(a.shape)} instead of {b.dtype} {list(b.shape)}")
        elif not torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8)):
            lines.append(f"{name}: {(a != b).sum().item()} of {a.numel()} elements differ")
    return lines
