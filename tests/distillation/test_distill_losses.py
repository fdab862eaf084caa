"""Every loss against torchdistill's own class, or against its formula worked out by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchdistill.losses import mid_level as torchdistill

from squeeze.core import plugins
from squeeze.core.errors import InputError
from squeeze.distillation.parts import Term
from squeeze.distillation.traits import Views
from squeeze.recipe import losses as blocks
from squeeze.recipe.schema import LossBlock

SAMPLES, CLASSES = 6, 10
LABELS = torch.tensor([0, 1, 2, 3, 3, 9])
CLASSIFIER = nn.Linear(9, CLASSES).requires_grad_(requires_grad=False)


def views(seed: int, channels: tuple[int, ...], width: int) -> Views:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def look(images: Tensor) -> Views:
        flat = images.flatten(1)
        shown = flat[:, :CLASSES] + flat.std(1, keepdim=True) * seed, flat[:, 10 : 10 + width]
        return Views(images, shown[0], (), (shown[1],), look)

    maps = tuple(normal(SAMPLES, c, 8 // 2**n, 8 // 2**n) for n, c in enumerate(channels))
    images = torch.randn(SAMPLES, 1, 8, 8, generator=torch.Generator().manual_seed(5))
    vectors = (normal(SAMPLES, width),)
    return Views(images, 3 * normal(SAMPLES, CLASSES), maps, vectors, look, CLASSIFIER)


STUDENT, TEACHER = views(1, (4, 6), 7), views(2, (5, 8), 9)
Two = Callable[[Term], Tensor]


def built(name: str, options: dict[str, Any] | None = None) -> Term:
    torch.manual_seed(0)
    block = LossBlock(name=name, options=options or {})
    term: Term = blocks.load(block).build(blocks.read_options(block), STUDENT, TEACHER)
    return term


def io(**tensors: Any) -> dict[str, Any]:
    return {path: {"output": tensor} for path, tensor in tensors.items()}


def pairs(count: int) -> dict[str, Any]:
    return {
        f"pair{n}": {who: {"io": "output", "path": f"p{n}"} for who in ("student", "teacher")}
        for n in range(count)
    }


def numbered(maps: Any) -> dict[str, Any]:
    return io(**{f"p{n}": x for n, x in enumerate(maps)})


def logits(loss: nn.Module, scale: float = 1.0) -> Tensor:
    value: Tensor = scale * loss(io(l=STUDENT.logits), io(l=TEACHER.logits))
    return value


L = ("l", "output", "l", "output")


def crd(term: Term) -> Tensor:
    bank: Any = term.learned[0]
    loss = torchdistill.CRDLoss("n", "e", "n", 128, 64, 16, 64, temperature=0.07, momentum=0.0)
    own = functional.normalize(bank.student(STUDENT.vectors[0]))
    goal = functional.normalize(bank.teacher(TEACHER.vectors[0]))
    loss.memory_v1[:SAMPLES], loss.memory_v2[:SAMPLES] = own.detach(), goal.detach()
    slots = torch.arange(SAMPLES)
    torch.manual_seed(7)
    allowed = torch.zeros(SAMPLES, 64)
    allowed[:, :SAMPLES] = (LABELS[:, None] != LABELS[None]).float()
    drawn = torch.multinomial(allowed, 16, replacement=True)
    indices = {"pos_idx": slots, "contrast_idx": torch.cat([slots[:, None], drawn], 1)}
    seen = io(n=own) | {"e": {"input": indices}}
    torch.manual_seed(7)  # the loss under test draws next
    return loss(seen, io(n=goal)).sum()  # type: ignore[no-any-return]


def review(term: Term) -> Tensor:
    shallow, deep = term.learned[0]  # type: ignore[misc]
    loss = torchdistill.HierarchicalContextLoss("s", "output", "t", "output")
    fused, carried = deep(STUDENT.maps[1], None)
    total = loss(io(s=(fused, carried)), io(t=TEACHER.maps[1]))
    fused, carried = shallow(STUDENT.maps[0], carried)
    return total + loss(io(s=(fused, carried)), io(t=TEACHER.maps[0]))  # type: ignore[no-any-return]


def factors(term: Term) -> Tensor:
    encoders, decoders, translators = term.learned
    total = torch.zeros(())
    for n in range(2):
        goal = encoders[n](TEACHER.maps[n])  # type: ignore[index]
        own = translators[n](STUDENT.maps[n])  # type: ignore[index]
        compared = torchdistill.FTLoss()(io(translator=own), io(paraphraser=goal))
        rebuilt = decoders[n](goal)  # type: ignore[index]
        total = total + 200 * compared + functional.mse_loss(rebuilt, TEACHER.maps[n])
    return total


def boundaries(term: Term) -> Tensor:
    total = torch.zeros(())
    for connector, s, t in zip(term.learned[0], STUDENT.maps, TEACHER.maps, strict=True):  # type: ignore[call-overload]
        loss = torchdistill.AltActTransferLoss(pairs(1), 1.0, "sum")
        total = total + loss(numbered([connector(s)]), numbered([t])) / t.numel()
    return total


def turned(images: Tensor) -> Tensor:
    rows = [torch.rot90(image, k, (1, 2)) for image in images for k in range(4)]
    return torch.stack(rows)


def self_supervised(term: Term) -> Tensor:
    images = turned(STUDENT.images)
    own, goal = STUDENT.look(images), TEACHER.look(images)
    loss = torchdistill.SSKDLoss(
        "l", "l", "s", "s", 4.0, 0.5, 4.0, 0.75, 1.0, loss_weights=[0.0, 0.9, 10.0, 2.7]
    )
    heads = [term.learned[0](own.vectors[0]), term.learned[1](goal.vectors[0])]
    total = loss(io(l=own.logits, s=heads[0]), io(l=goal.logits, s=heads[1]), LABELS)
    return total + torchdistill.AuxSSKDLoss()({}, io(ss_module=heads[1]))  # type: ignore[no-any-return]


def flow(term: Term) -> Tensor:
    names = ("first", "second")
    layer = {
        f"{who}_{n}": {"io": "output", "path": n} for who in ("student", "teacher") for n in names
    }
    adapted = [a(s) for a, s in zip(term.learned[0], STUDENT.maps, strict=True)]  # type: ignore[call-overload]
    loss = torchdistill.FSPLoss({"one": layer})
    value: Tensor = loss(
        io(first=adapted[0], second=adapted[1]),
        io(first=TEACHER.maps[0], second=TEACHER.maps[1]),
    )
    return value


def through(term: Term, loss: nn.Module) -> Tensor:
    adapted = [a(s) for a, s in zip(term.learned[0], STUDENT.maps, strict=True)]  # type: ignore[call-overload]
    value: Tensor = loss(numbered(adapted), numbered(TEACHER.maps))
    return value


def vectors(loss: nn.Module) -> Tensor:
    value: Tensor = loss(io(v=STUDENT.vectors[0]), io(v=TEACHER.vectors[0]))
    return value


def unit_vectors(term: Term) -> Tensor:
    del term
    kernel = {"type": "gaussian", "gamma": 0.4, "max_p": 2}
    s, t = (functional.normalize(x.vectors[0]) for x in (STUDENT, TEACHER))
    value: Tensor = torchdistill.CCKDLoss("v", "v", kernel, "batchmean")(io(v=s), io(v=t))
    return value


def similar(term: Term) -> Tensor:
    del term
    loss = torchdistill.SPKDLoss("p", "p", "batchmean")
    maps = zip(STUDENT.maps, TEACHER.maps, strict=True)
    return sum((loss(io(p=s), io(p=t)) for s, t in maps), torch.zeros(()))


def prime_aware(term: Term) -> Tensor:
    own = term.learned[0][0](STUDENT.vectors[0])  # type: ignore[index]
    spread = term.learned[1][0](STUDENT.vectors[0])  # type: ignore[index]
    value: Tensor = torchdistill.PADL2Loss("s", "t")(
        io(s=own, var_estimator=spread), io(t=TEACHER.vectors[0])
    )
    return value


REFERENCES: dict[str, Two] = {
    "kd": lambda _: logits(torchdistill.KDLoss(*L, temperature=4.0, alpha=0.0), 16.0),
    "kd_logit_std": lambda _: logits(torchdistill.LogitStdKDLoss(*L, 2.0, alpha=0.0), 4.0),
    "dist": lambda _: logits(torchdistill.DISTLoss(*L, beta=2.0, gamma=2.0, tau=4.0)),
    "at": lambda _: torchdistill.ATLoss(pairs(2))(numbered(STUDENT.maps), numbered(TEACHER.maps)),
    "fsp": flow,
    "spkd": similar,
    "cckd": unit_vectors,
    "vid": lambda term: through(term, torchdistill.VIDLoss(pairs(2))),
    "rkd": lambda _: vectors(torchdistill.RKDLoss("v", "v", 25.0, 50.0, "mean")),
    "pkt": lambda _: vectors(torchdistill.PKTLoss("v", "output", "v", "output")),
    "ab": boundaries,
    "ft": factors,
    "crd": crd,
    "reviewkd": review,
    "ickd": lambda term: SAMPLES * through(term, torchdistill.ChSimLoss(pairs(2))),
    "padl2": prime_aware,
    "sskd": self_supervised,
}
OPTIONS = {"crd": {"bank": 64, "negatives": 16}}
BY_HAND = {"dkd", "fitnet", "nst", "srrl"}
OF_CLASSIFIERS = sorted(  # those of detectors: test_distill_detectors.py
    name
    for name in plugins.names(plugins.LOSSES)
    if blocks.load(LossBlock(name=name)).TRAITS.task != "detection"
)


@pytest.mark.parametrize("name", REFERENCES)
def test_the_value_is_torchdistills(name: str) -> None:
    term = built(name, OPTIONS.get(name)).train()
    expected = REFERENCES[name](term).item()
    found = term(STUDENT, TEACHER, LABELS).item()
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert found > 0


def test_every_loss_has_a_reference() -> None:
    assert set(REFERENCES) | BY_HAND == set(OF_CLASSIFIERS)


@pytest.mark.parametrize("name", OF_CLASSIFIERS)
def test_every_loss_teaches_the_student(name: str) -> None:
    """The gradient reaches what the loss looks at in the student, and nothing of the teacher."""
    term = built(name, OPTIONS.get(name)).train()
    seen = [t.clone().requires_grad_() for t in (STUDENT.logits, *STUDENT.maps, *STUDENT.vectors)]
    images = STUDENT.images.clone().requires_grad_()
    student = Views(images, seen[0], tuple(seen[1:3]), (seen[3],), STUDENT.look)
    term(student, TEACHER, LABELS).backward()
    needs = blocks.load(LossBlock(name=name)).TRAITS.needs
    at = {"logits": [seen[0]], "maps": seen[1:3], "vectors": [seen[3]]}[needs]
    at = [images] if name == "sskd" else at
    assert all(t.grad is not None and t.grad.abs().sum() > 0 for t in at)
    assert all(p.grad is not None for p in term.parameters())
    assert CLASSIFIER.weight.grad is None


def test_a_perfect_student_has_nothing_to_learn_from_logits() -> None:
    for name in ("kd", "kd_logit_std", "dkd", "dist"):
        assert float(built(name)(TEACHER, TEACHER, LABELS)) == pytest.approx(0, abs=1e-5)


def softmax(x: Any) -> Any:
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def double(x: Tensor) -> Any:
    return x.detach().double().numpy()


def test_dkd_by_hand() -> None:
    total = 0.0
    for s, t, label in zip(double(STUDENT.logits), double(TEACHER.logits), LABELS, strict=True):
        p, q = softmax(t / 4), softmax(s / 4)
        binary = [(p[label], q[label]), (1 - p[label], 1 - q[label])]
        total += sum(a * np.log(a / b) for a, b in binary)
        others = [c for c in range(CLASSES) if c != label]
        p, q = p[others] / p[others].sum(), q[others] / q[others].sum()
        total += 8 * (p * np.log(p / q)).sum()
    found = float(built("dkd")(STUDENT, TEACHER, LABELS))
    assert found == pytest.approx(16 * total / SAMPLES, rel=1e-6)


def test_dkd_with_kds_weights_is_kd() -> None:
    """Equation 7: with beta = 1 - p_t the decoupled loss of a sample is that of kd."""
    student, teacher, label = STUDENT.logits[:1], TEACHER.logits[:1], LABELS[:1]
    rest = 1 - float(torch.softmax(teacher / 4, 1)[0, label])
    one = views(1, (4, 6), 7), views(2, (5, 8), 9)
    small = [
        Views(v.images, x, (), (), v.look) for v, x in zip(one, (student, teacher), strict=True)
    ]
    decoupled = built("dkd", {"beta": rest})(*small, label)
    assert float(decoupled) == pytest.approx(float(built("kd")(*small, label)), rel=1e-5)


def test_nst_by_hand() -> None:
    total = 0.0
    for s, t in zip(STUDENT.maps, TEACHER.maps, strict=True):
        for a, b in zip(double(s.flatten(2)), double(t.flatten(2)), strict=True):
            a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))  # noqa: PLW2901
            kernels = [
                np.mean([(u @ v) ** 2 for u in x for v in y]) for x, y in ((b, b), (a, a), (a, b))
            ]
            total += kernels[0] + kernels[1] - 2 * kernels[2]
    found = float(built("nst")(STUDENT, TEACHER, LABELS))
    assert found == pytest.approx(total / SAMPLES, rel=1e-6, abs=1e-6)


def test_fitnet_by_hand() -> None:
    term = built("fitnet").train()
    total = 0.0
    for regressor, s, t in zip(term.learned[0], STUDENT.maps, TEACHER.maps, strict=True):  # type: ignore[call-overload]
        x = np.einsum("oc,nchw->nohw", double(regressor[0].weight[:, :, 0, 0]), double(s))
        mean, var = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        total += (((x - mean) / np.sqrt(var + 1e-5) - double(t)) ** 2).mean()
    assert term(STUDENT, TEACHER, LABELS).item() == pytest.approx(total, rel=1e-6)


def test_srrl_by_hand() -> None:
    term = built("srrl")
    connector: Any = term.learned[0]
    mapped = double(STUDENT.vectors[0]) @ double(connector.weight).T + double(connector.bias)
    matched = ((mapped - double(TEACHER.vectors[0])) ** 2).mean()
    q = softmax(mapped @ double(CLASSIFIER.weight).T + double(CLASSIFIER.bias))
    p = softmax(double(TEACHER.logits))
    expected = matched + (p * np.log(p / q)).sum() / SAMPLES
    assert term(STUDENT, TEACHER, LABELS).item() == pytest.approx(expected, rel=1e-6)


def test_srrl_needs_the_classifiers_input() -> None:
    headless = Views(TEACHER.images, TEACHER.logits, (), TEACHER.vectors, TEACHER.look)
    module = blocks.load(LossBlock(name="srrl"))
    with pytest.raises(InputError, match="linear classifier"):
        module.build(module.Options(), STUDENT, headless)
    narrow = Views(TEACHER.images, TEACHER.logits, (), STUDENT.vectors, TEACHER.look, CLASSIFIER)
    with pytest.raises(InputError, match="classifier's input"):
        module.build(module.Options(), STUDENT, narrow)


def test_sskd_turns_square_images_only() -> None:
    wide = Views(torch.zeros(2, 1, 8, 6), TEACHER.logits, (), TEACHER.vectors, TEACHER.look)
    module = blocks.load(LossBlock(name="sskd"))
    with pytest.raises(InputError, match="found 8x6"):
        module.build(module.Options(), wide, wide)


def test_crd_draws_from_what_it_has_seen_and_from_other_labels() -> None:
    bank: Any = built("crd", {"bank": 32, "negatives": 50}).learned[0]
    for _ in range(4):  # 24 of 32 slots
        bank(STUDENT.vectors[0], TEACHER.vectors[0], LABELS)
    slots = torch.arange(SAMPLES)
    drawn = bank._candidates(slots)
    assert torch.equal(drawn[:, 0], slots)
    assert int(drawn.max()) < 24
    assert bool((bank.labels[drawn[:, 1:]] != LABELS[:, None]).all())
    for _ in range(4):
        bank(STUDENT.vectors[0], TEACHER.vectors[0], LABELS)
    assert bank.next.item() == 48 % 32
    state = bank.state_dict()  # what a killed training takes up again
    assert {"labels", "next", "contrast.memory_v1", "contrast.memory_v2"} <= set(state)
    with pytest.raises(InputError, match="a batch of 6 does not fit into a bank of 4"):
        built("crd", {"bank": 4}).learned[0](STUDENT.vectors[0], TEACHER.vectors[0], LABELS)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"name": "kdd"}, "unknown loss 'kdd'.*did you mean 'kd'"),
        ({"name": "dkd", "options": {"bta": 1.0}}, "unknown option of 'dkd' 'bta'.*mean 'beta'"),
        ({"name": "dkd", "options": {"beta": -1.0}}, "found -1.0, allowed: greater than or equal"),
        ({"name": "at", "temperature": 2.0}, "'at' has no temperature"),
        ({"name": "pkt", "options": {"x": 1}}, "'pkt' has no options, found 'x'"),
        ({"name": "kd", "temperature": 2.0, "options": {"temperature": 3.0}}, "is given twice"),
    ],
)
def test_wrong_options_are_named(block: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        blocks.read_options(LossBlock.model_validate(block))


def test_temperature_beside_the_name_is_an_option() -> None:
    assert blocks.read_options(LossBlock(name="dkd", temperature=2.0)).temperature == 2.0  # type: ignore[attr-defined]
