"""Linear layers, matrix products and attention: sums over channels that end there.

What a weight reads is tied to the channels that it is multiplied with; what it makes are new
channels. A product of two activations ties what it sums over on both sides.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from squeeze.pruning.graph import exported
from squeeze.pruning.graph.call import Call, join, passes
from squeeze.pruning.graph.labels import Labelled, varying
from squeeze.pruning.graph.rules.weights import vector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from squeeze.pruning.graph.call import Rule

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MATRIX = 2
_UNMADE = "is multiplied with numbers that no layer makes"


@dataclass(frozen=True)
class _Product:
    """Two factors and the dimensions of both, each dimension a letter.

    Attributes:
        call: For reasons.
        factors: The tensors.
        letters: Of each factor's dimensions.
        out: Of the result's dimensions; the others are summed over.
    """

    call: Call
    factors: "tuple[Labelled, Labelled]"
    letters: tuple[str, str]
    out: str

    @property
    def order(self) -> str:
        """All letters, those of the result first."""
        every = dict.fromkeys("".join(self.letters))
        return self.out + "".join(letter for letter in every if letter not in self.out)

    @property
    def summed(self) -> list[int]:
        """The dimensions, in ``order``, that are summed over."""
        return list(range(len(self.out), len(self.order)))

    @property
    def shared(self) -> list[int]:
        """The dimensions that both factors and the result have."""
        first, second = self.letters
        every = enumerate(self.out)
        return [dim for dim, letter in every if letter in first and letter in second]

    @property
    def reason(self) -> str:
        """Why heads stay."""
        where = exported.place(self.call.node)
        return f"numbers parts of a product that stay, such as attention heads, in {where}"

    def aligned(self, number: int) -> "list[Tensor]":
        """Return a factor's maps with a dimension per letter of ``order``."""
        own, order = self.letters[number], self.order
        present = [letter for letter in order if letter in own]
        found = []
        for labels in self.factors[number].maps:
            moved = labels.permute([own.index(letter) for letter in present])
            sizes = iter(moved.shape)
            found.append(moved.reshape([next(sizes) if one in own else 1 for one in order]))
        return found

    def meets(self, number: int, labels: "Tensor") -> bool:
        """Tell whether a factor without labels fits any number of the other's channels."""
        own, factor = self.letters[number], self.factors[number]
        dims = [own.index(self.order[dim]) for dim in varying(labels) if self.order[dim] in own]
        return not dims or passes(factor, dims, len(factor.shape))


def contract(call: Call, a: Labelled, b: Labelled, letters: str) -> Labelled:
    """Multiply two tensors and sum, as ``einsum`` writes it.

    Args:
        call: For reasons.
        a: First factor.
        b: Second factor.
        letters: ``ik,kj->ij``.
    """
    inputs, _, out = letters.partition("->")
    first, _, second = inputs.partition(",")
    product = _Product(call, (a, b), (first, second), out)
    ends: tuple[list[Tensor], list[Tensor]] = ([], [])
    kept: tuple[list[Tensor], list[Tensor]] = ([], [])
    for number in (0, 1):
        for labels in product.aligned(number):
            is_summed = not set(varying(labels)).isdisjoint(product.summed)
            (ends if is_summed else kept)[number].append(labels)
        if product.factors[number].learned and not product.factors[1 - number].learned:
            for labels in kept[number]:
                call.coupling.make(labels)
    heads = _end(product, ends)
    maps = _outer(product, kept, heads)
    sizes: dict[str, int] = {}
    for own, factor in zip(product.letters, product.factors, strict=True):
        for letter, size in zip(own, factor.shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    shape = tuple(sizes[letter] for letter in out)
    done = tuple(labels.reshape(labels.shape[: len(out)]) for labels in maps)
    return Labelled(shape, done, a.fixed or b.fixed, learned=a.learned and b.learned)


def _end(product: _Product, ends: "Sequence[Sequence[Tensor]]") -> "Tensor | None":
    """Tie what is summed over; return labels of parts that have sums of their own."""
    coupling, order, summed = product.call.coupling, product.order, product.summed
    found: tuple[list[Tensor], list[Tensor]] = ([], [])
    for number in (0, 1):
        other = product.letters[1 - number]
        for labels in ends[number]:
            free = [dim for dim in varying(labels) if order[dim] not in other and dim not in summed]
            found[number].append(coupling.collapse(labels, free))
    for one, two in zip(*found, strict=False):
        coupling.tie(one, two)
    for number in (0, 1):
        for labels in found[number][len(found[1 - number]) :]:
            if not product.meets(1 - number, labels):
                product.call.stay(labels, _UNMADE)
    inner = [labels for own in found for labels in own]
    spread = {dim for labels in inner for dim in varying(labels)}.intersection(product.shared)
    if not spread:
        return None
    sizes = [
        max(labels.shape[dim] for labels in inner) if dim in spread else 1
        for dim in range(len(order))
    ]
    count = 1
    for size in sizes:
        count *= size
    heads = coupling.fresh(count).reshape(sizes)
    for labels in inner:
        coupling.nest(heads, labels, product.reason)
        coupling.grid(labels, max(set(varying(labels)).intersection(summed)))
    return heads


def _outer(
    product: _Product, kept: "Sequence[Sequence[Tensor]]", heads: "Tensor | None"
) -> "list[Tensor]":
    """Return the maps of the result: those of both factors that are not summed over."""
    coupling = product.call.coupling
    made: list[Tensor] = [] if heads is None else [heads]
    for number in (0, 1):
        for labels in kept[number]:
            others = (*kept[1 - number], *made)
            met = any(set(varying(labels)) & set(varying(other)) for other in others)
            if not met and not product.meets(1 - number, labels):
                product.call.stay(labels, _UNMADE)
    for labels in (*kept[0], *kept[1]):
        mine = set(varying(labels))
        for index, other in enumerate(made):
            theirs = set(varying(other))
            if not mine & theirs:
                continue
            if mine == theirs:
                coupling.tie(other, labels)
            elif theirs < mine:  # a head, and the channels inside it
                coupling.nest(other, labels, product.reason)
                coupling.grid(labels, max(mine - theirs))
                made[index] = labels
            else:
                coupling.nest(labels, other, product.reason)
            break
        else:
            made.append(labels)
    return made


def linear(call: Call) -> Labelled:
    """``x @ weight.T + bias``."""
    x, weight = call.args[:2]
    bias = call.argument(2, "bias")
    lead = _LETTERS[: len(x.shape) - 1]
    found = contract(call, x, weight, f"{lead}y,zy->{lead}z")
    made = vector(call, weight, 0, is_made=True)
    if made is not None:
        call.coupling.make(made)
    return found if bias is None else join(call, [found, bias], call.shape)


def matmul(call: Call) -> Labelled:
    """Products of matrices, with any leading dimensions."""
    a, b = call.args[:2]
    rows, columns = len(a.shape), len(b.shape)
    lead = _LETTERS[: max(rows, columns, 2) - 2]
    left = (lead[len(lead) - rows + 2 :] + "xy") if rows > 1 else "y"
    right = (lead[len(lead) - columns + 2 :] + "yz") if columns > 1 else "y"
    out = lead + ("x" if rows > 1 else "") + ("z" if columns > 1 else "")
    return contract(call, a, b, f"{left},{right}->{out}")


def added(call: Call) -> Labelled:
    """``baddbmm`` and ``addmm``: a product on top of something."""
    found = contract(
        call,
        call.args[1],
        call.args[2],
        "xy,yz->xz" if len(call.args[1].shape) == _MATRIX else "axy,ayz->axz",
    )
    return join(call, [call.args[0], found], call.shape)


def einsum(call: Call) -> Labelled:
    """Any product of two tensors whose letters do not repeat in one of them."""
    letters, operands = call.args[0].replace(" ", ""), call.args[1]
    inputs = letters.partition("->")[0].split(",")
    simple = all(len(set(own)) == len(own) for own in inputs) and "." not in letters
    if len(operands) != _MATRIX or not simple:
        found: Labelled = call.unknown()
        return found
    if "->" not in letters:
        alone = [one for one in sorted("".join(inputs)) if "".join(inputs).count(one) == 1]
        letters = f"{letters}->{''.join(alone)}"
    return contract(call, operands[0], operands[1], letters)


def attention(call: Call) -> Labelled:
    """``scaled_dot_product_attention``, with the softmax over positions."""
    q, k, v = call.args[:3]
    mask = call.argument(3, "attn_mask")
    lead = _LETTERS[: len(q.shape) - 2]
    if call.kwargs.get("enable_gqa"):
        found: Labelled = call.unknown()
        return found
    scores = contract(call, q, k, f"{lead}xy,{lead}zy->{lead}xz")
    for labels in q.maps:
        if labels.shape[-1] > 1:
            call.size(0, q.shape[-1], labels, labels.ndim - 1)  # the scale, where none is given
    if mask is not None:
        scores = join(call, [scores, mask], scores.shape)
    for labels in scores.maps:
        if labels.shape[-1] > 1:
            call.stay_apart(labels, labels.ndim - 1, labels, "goes through a softmax")
    maps = [labels for labels in scores.maps if labels.shape[-1] == 1]
    return contract(call, scores.with_maps(maps), v, f"{lead}xz,{lead}zy->{lead}xy")


def bilinear(call: Call) -> Labelled:
    """``y_o = a W_o b``."""
    a, b, weight = call.args[:3]
    bias = call.argument(3, "bias")
    lead = _LETTERS[: len(a.shape) - 1]
    half = contract(call, a, weight, f"{lead}x,wxy->{lead}wy")
    found = contract(call, half, b, f"{lead}wy,{lead}y->{lead}w")
    return found if bias is None else join(call, [found, bias], call.shape)


_MATMULS = "matmul mm bmm mv dot"

RULES: "Mapping[str, Rule]" = (
    dict.fromkeys(_MATMULS.split(), matmul)
    | dict.fromkeys(("addmm", "baddbmm"), added)
    | {
        "linear": linear,
        "einsum": einsum,
        "scaled_dot_product_attention": attention,
        "bilinear": bilinear,
    }
)
