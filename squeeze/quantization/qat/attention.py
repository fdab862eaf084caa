"""Attention written out, so that its products are seen: they run in int8, its softmax in float.

Source of the operation: Vaswani et al., Attention Is All You Need, section 3.2
(https://arxiv.org/abs/1706.03762).
"""

import operator
from typing import TYPE_CHECKING

import torch  # noqa: TID253  (imported only to train)
from torch import nn  # noqa: TID253
from torch.fx import map_arg  # noqa: TID253
from torch.nn import functional  # noqa: TID253

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule, Node


class SelfAttention(nn.Module):
    """What ``nn.MultiheadAttention`` computes of one sequence, with layers that can be followed.

    Args:
        layer: Whose weights it copies; of batches first, and of one width.
    """

    def __init__(self, layer: nn.MultiheadAttention) -> None:
        super().__init__()
        width = layer.embed_dim
        self.heads, self.size = layer.num_heads, layer.head_dim
        has_bias = layer.in_proj_bias is not None
        self.in_proj = nn.Linear(width, 3 * width, bias=has_bias)
        self.out_proj = nn.Linear(width, width, bias=layer.out_proj.bias is not None)
        with torch.no_grad():
            self.in_proj.weight.copy_(layer.in_proj_weight)
            if has_bias:
                self.in_proj.bias.copy_(layer.in_proj_bias)
        self.out_proj.load_state_dict(layer.out_proj.state_dict())

    def forward(  # noqa: PLR0913, PLR0917  (the signature of what it replaces)
        self,
        query: "Tensor",
        key: "Tensor",
        value: "Tensor",
        key_padding_mask: "Tensor | None" = None,
        need_weights: bool = False,  # noqa: FBT001, FBT002
        attn_mask: "Tensor | None" = None,
        average_attn_weights: bool = True,  # noqa: FBT001, FBT002
        is_causal: bool = False,  # noqa: FBT001, FBT002
    ) -> "tuple[Tensor, None]":
        """Return ``(N, L, C)`` of ``(N, L, C)``, and no weights.

        Raises:
            ValueError: It is called with other arguments.
        """
        del average_attn_weights
        masks = key_padding_mask is not None or attn_mask is not None or is_causal
        if query is not key or key is not value or masks or need_weights:
            raise ValueError(
                "only self-attention without masks, whose weights are not returned, is supported"
            )
        parts = torch.chunk(self.in_proj(query), 3, dim=-1)
        q, k, v = (
            torch.unflatten(parts[i], -1, (self.heads, self.size)).transpose(1, 2) for i in range(3)
        )
        found = functional.scaled_dot_product_attention(q, k, v)
        return self.out_proj(found.transpose(1, 2).flatten(2)), None


def open_(module: nn.Module) -> None:
    """Replace every ``nn.MultiheadAttention`` of one sequence by one that can be followed."""
    for name, child in module.named_children():
        if isinstance(child, nn.MultiheadAttention):
            if child.batch_first and child.in_proj_weight is not None and child.bias_k is None:
                setattr(module, name, SelfAttention(child).eval())
        else:
            open_(child)


def write_out_(graph: "GraphModule") -> None:
    """Write every plain ``scaled_dot_product_attention`` as products, scale and softmax, in place.

    The scale comes behind the first product, so that queries and keys stay as they were rounded.
    """
    _drop_optional_inputs_(graph)
    for node in list(graph.graph.nodes):
        if node.target is functional.scaled_dot_product_attention and _is_plain(node):
            with graph.graph.inserting_before(node):
                product = _products(graph, node)
            node.replace_all_uses_with(product)
            graph.graph.erase_node(node)
    graph.recompile()


def _drop_optional_inputs_(graph: "GraphModule") -> None:
    """Put the defaults of a model's inputs in their places, as masks of timm's transformers have.

    What is trained and exported is called with images alone.
    """
    nodes = list(graph.graph.nodes)
    defaults = {node: node.args[0] for node in nodes if node.op == "placeholder" and node.args}
    for node in nodes if defaults else ():
        if node not in defaults:
            given = (node.args, node.kwargs)
            node.args, node.kwargs = map_arg(given, lambda each: defaults.get(each, each))
    for node in defaults:
        graph.graph.erase_node(node)


def _is_plain(node: "Node") -> bool:
    """Tell whether nothing is masked; what is dropped in training is not dropped here."""
    rest = ("attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
    given = {**dict(zip(rest, node.args[3:], strict=False)), **node.kwargs}
    return given.get("attn_mask") is None and not (
        given.get("is_causal") or given.get("enable_gqa")
    )


def _products(graph: "GraphModule", node: "Node") -> "Node":
    q, k, v = node.args[:3]
    call, scale = graph.graph.call_function, node.kwargs.get("scale")
    if scale is None:
        scale = call(operator.pow, (graph.graph.call_method("size", (q, -1)), -0.5))
    made = [call(torch.transpose, (k, -2, -1))]
    made.append(call(torch.matmul, (q, made[-1])))
    made.append(call(operator.mul, (made[-1], scale)))
    made.append(call(torch.softmax, (made[-1], -1)))
    made.append(call(torch.matmul, (made[-1], v)))
    for each in made:
        each.meta = dict(node.meta)  # whose layer it is
    return made[-1]
