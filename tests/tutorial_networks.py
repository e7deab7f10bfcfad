"""Small networks of the kinds that public tutorials have, and small data for each: as people bring them.

Letters: B examples, C channels, H height, W width, T positions, F features, D width of a layer, V tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

N_TRAIN, N_TEST = 32, 24
FEATURES, TOKENS, POSITIONS, SIDE, SMALL = 6, 7, 5, 8, 4


class Mlp(nn.Module):
    """Three Linear layers and tanh; the last function makes logits, one logit, a probability or probabilities."""

    def __init__(self, n: int = 3, ends_with: str = "") -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(FEATURES, 5), nn.Tanh(), nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, n))
        self.ends_with = ends_with

    def forward(self, x: Tensor) -> Tensor:
        out = self.body(x)
        if self.ends_with == "sigmoid":
            return torch.sigmoid(out)
        if self.ends_with == "squeeze":
            return out.squeeze(-1)
        return out.softmax(-1) if self.ends_with == "softmax" else out


class OfAnyInputs(nn.Module):
    """An MLP of three units in each hidden layer, for whatever data."""

    def __init__(self, input_shape: tuple[int, ...], n_outputs: int) -> None:
        super().__init__()
        (n,) = input_shape
        self.layers = nn.Sequential(nn.Linear(n, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, n_outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class LeNet(nn.Module):
    """Convolutions and pools, then three Linear layers."""

    def __init__(self, n_outputs: int = 3) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 2)
        self.fc1, self.fc2, self.fc3 = nn.Linear(4, 6), nn.Linear(6, 4), nn.Linear(4, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = self.flat(F.max_pool2d(F.relu(self.conv2(x)), 2))
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))

    def flat(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class LeNetOfSizes(LeNet):
    """The same, flattened as old tutorials do: by a loop over the sizes."""

    def flat(self, x: Tensor) -> Tensor:
        num_features = 1
        for s in x.size()[1:]:
            num_features *= s
        return x.view(-1, num_features)


class ConvNet(nn.Module):
    """The same, with the number of features written out, a module list and log_softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)])
        self.pool, self.dropout = nn.MaxPool2d(2), nn.Dropout(0.25)
        self.fc1, self.fc2 = nn.Linear(16, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = self.pool(F.relu(conv(x)))
        x = torch.flatten(x, 1)
        x = self.dropout(F.relu(self.fc1(x)))
        return F.log_softmax(self.fc2(x), dim=1)


class Block(nn.Module):
    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(n_out), nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Sequential()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet(nn.Module):
    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 3, 3, 1, 1, bias=False), nn.BatchNorm2d(3)
        self.layer1 = nn.Sequential(Block(3, 3, 1))
        self.layer2 = nn.Sequential(Block(3, 4, 2))
        self.linear = nn.Linear(4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer2(self.layer1(out))
        out = F.avg_pool2d(out, 4)
        return self.linear(out.view(out.size(0), -1))


class Rnn(nn.Module):
    """An LSTM that begins with zeros and is read at its last step."""

    def __init__(self, hidden_size: int = 5, num_layers: int = 1, num_classes: int = 3) -> None:
        super().__init__()
        self.hidden_size, self.num_layers = hidden_size, num_layers
        self.lstm = nn.LSTM(4, hidden_size, num_layers, batch_first=True)
        self.fc = nn.Linear(hidden_size, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        h0 = torch.zeros(self.num_layers, x.size(0), self.hidden_size).to(x.device)
        c0 = torch.zeros(self.num_layers, x.size(0), self.hidden_size).to(x.device)
        out, _ = self.lstm(x, (h0, c0))
        return self.fc(out[:, -1, :])


class TextRnn(nn.Module):
    """Tokens, an Embedding, a GRU whose last state is read, and the attention beside the logits."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 4)
        self.gru = nn.GRU(4, 5, batch_first=True)
        self.fc = nn.Linear(5, num_classes)

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        output, hidden = self.gru(self.embedding(text))
        return self.fc(hidden[-1]), output.mean(1)


@dataclass
class Returned:
    """What networks of a well-known library return: by name, and by position."""

    logits: Tensor
    loss: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class Attention(nn.Module):
    def __init__(self, n_embd: int, n_head: int) -> None:
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(n_embd, 3 * n_embd), nn.Linear(n_embd, n_embd)
        self.n_head, self.n_embd = n_head, n_embd
        self.register_buffer("bias", torch.tril(torch.ones(POSITIONS, POSITIONS)).view(1, 1, POSITIONS, POSITIONS))

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
        k = k.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        q = q.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        v = v.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
        y = F.softmax(att, dim=-1) @ v
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class TransformerBlock(nn.Module):
    def __init__(self, n_embd: int, n_head: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.attn = Attention(n_embd, n_head)
        self.mlp = nn.Sequential(nn.Linear(n_embd, 8), nn.GELU(), nn.Linear(8, n_embd))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """Token and position embeddings, one block, and the logits of the last position in an object with names."""

    def __init__(self, n_embd: int = 6, n_head: int = 2, vocab_size: int = TOKENS, n_classes: int = 3) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab_size, n_embd), nn.Embedding(POSITIONS, n_embd)
        self.h = nn.ModuleList([TransformerBlock(n_embd, n_head)])
        self.ln_f, self.head = nn.LayerNorm(n_embd), nn.Linear(n_embd, n_classes, bias=False)

    def forward(self, idx: Tensor) -> Returned:
        pos = torch.arange(0, idx.size(1), dtype=torch.long, device=idx.device)
        x = self.wte(idx) + self.wpe(pos)
        for block in self.h:
            x = block(x)
        return Returned(self.head(self.ln_f(x)[:, -1]), hidden_states=(x,))


class Encoder(nn.Module):
    """torch's own encoder on sequences of features, and their mean."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.encoder(x).mean(dim=1))


class Autoencoder(nn.Module):
    """Convolutions down to a code, and transposed ones back to an image."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Conv2d(1, 2, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.ReLU())
        )
        self.decoder = nn.Sequential(
            *(nn.ConvTranspose2d(3, 2, 2, stride=2), nn.ReLU(), nn.ConvTranspose2d(2, 1, 2, stride=2), nn.Sigmoid())
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class DenseAutoencoder(nn.Module):
    """Linear layers that flatten the image themselves, and give it its shape again."""

    def __init__(self, hidden: int = 3) -> None:
        super().__init__()
        n = SMALL * SMALL
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(n, 8), nn.ReLU(), nn.Linear(8, hidden))
        self.decoder = nn.Sequential(
            nn.Linear(hidden, 8), nn.ReLU(), nn.Linear(8, n), nn.Unflatten(1, (1, SMALL, SMALL))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class KanLayer(nn.Module):
    """A layer of learned functions: B-splines of order 1 on a grid, and SiLU, with the checks that such layers have."""

    def __init__(self, in_features: int, out_features: int, grid_size: int = 3) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.base_weight = nn.Parameter(torch.randn(out_features, in_features) / in_features**0.5)
        self.spline_weight = nn.Parameter(torch.randn(out_features, in_features, grid_size) / 3)
        self.spline_scaler = nn.Parameter(torch.ones(out_features, in_features))
        self.register_buffer("grid", torch.linspace(-1, 1, grid_size).expand(in_features, -1).contiguous())

    def b_splines(self, x: Tensor) -> Tensor:
        assert x.dim() == 2 and x.size(1) == self.in_features
        bases = (1 - (x.unsqueeze(-1) - self.grid).abs()).clamp(min=0)
        assert bases.size() == (x.size(0), self.in_features, self.grid.size(1))
        return bases.contiguous()

    def forward(self, x: Tensor) -> Tensor:
        splines = (self.spline_weight * self.spline_scaler.unsqueeze(-1)).view(self.out_features, -1)
        return F.linear(F.silu(x), self.base_weight) + F.linear(self.b_splines(x).view(x.size(0), -1), splines)


class Kan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([KanLayer(FEATURES, 4), KanLayer(4, 3)])

    def forward(self, x: Tensor, update_grid: bool = False) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class Siamese(nn.Module):
    """Two images, one network for both, and a Linear layer on the distance of what it makes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 4), nn.ReLU())
        self.fc = nn.Linear(4, 3)

    def forward_once(self, x: Tensor) -> Tensor:
        return self.cnn(x)

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.forward_once(x[:, :1]), self.forward_once(x[:, 1:])
        return self.fc(torch.abs(one - other))


class SiameseOfTwo(Siamese):
    """The same, with a parameter for each image."""

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:  # type: ignore[override]
        return self.fc(torch.abs(self.forward_once(x1) - self.forward_once(x2)))


class MixerBlock(nn.Module):
    def __init__(self, n_patches: int, dim: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.tokens = nn.Sequential(nn.Linear(n_patches, 5), nn.GELU(), nn.Linear(5, n_patches))
        self.channels = nn.Sequential(nn.Linear(dim, 6), nn.GELU(), nn.Linear(6, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class Mixer(nn.Module):
    def __init__(self, dim: int = 4, n_classes: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, dim, 4, 4)
        self.blocks = nn.Sequential(MixerBlock(4, dim), MixerBlock(4, dim))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.blocks(x)).mean(1))


class Vae(nn.Module):
    """An encoder to means and log-variances, a draw, and a decoder; returns the image and both."""

    def __init__(self, draws: str = "always") -> None:
        super().__init__()
        n = SMALL * SMALL
        self.fc1, self.fc21, self.fc22 = nn.Linear(n, 6), nn.Linear(6, 2), nn.Linear(6, 2)
        self.fc3, self.fc4 = nn.Linear(2, 6), nn.Linear(6, n)
        self.draws = draws

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = F.relu(self.fc1(x))
        return self.fc21(h), self.fc22(h)

    def reparameterize(self, mu: Tensor, logvar: Tensor) -> Tensor:
        if self.draws == "in training" and not self.training:
            return mu
        std = torch.exp(0.5 * logvar)
        return mu + torch.randn_like(std) * std

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mu, logvar = self.encode(x.view(-1, SMALL * SMALL))
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


class VaeEncoder(Vae):
    """The encoder alone: a dict of two tensors."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        mu, logvar = self.encode(x.flatten(1))
        return {"mu": mu, "logvar": logvar}


# --- data ----------------------------------------------------------------------------------------------------------


def arrays(kind: str, *, target: str = "classes") -> dict[str, Any]:
    """Returns the arrays of a data set of two variables `p` and `q`, 0 or 1, that stand in its inputs.

    Args:
        kind: features `(N, F)`, images `(N, 1, H, W)`, pairs `(N, 2, H, W)`, sequences `(N, T, 4)`, or tokens `(N, T)`.
        target: classes, the sum p + q; either, whether one of them is 1; image, the input; latent, `(N, 2)` numbers.
    """
    draw = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for split, n in (("train", N_TRAIN), ("test", N_TEST)):
        p, q = draw.integers(2, size=n), draw.integers(2, size=n)
        if kind == "tokens":
            x = draw.integers(3, TOKENS, size=(n, POSITIONS))
            x[:, 0], x[:, 3] = p, 2 * q
        else:
            x = 0.3 * draw.normal(size=(n, *SHAPES[kind])).astype("float32")
            flat = x.reshape(n, -1)
            half = flat.shape[1] // 2
            flat[:, : half // 2 + 1] += p[:, None]
            flat[:, half : half + half // 2 + 1] += q[:, None]
        y = {"classes": p + q, "either": p | q, "image": x, "latent": np.stack([p - 0.5, q - 0.5], 1)}[target]
        found |= {f"x_{split}": x, f"y_{split}": y, f"variables_{split}": np.stack([p, q], 1)}
    if target in ("classes", "either"):
        mechanism = [[0, 1], [1, 2]] if target == "classes" else [[0, 1], [1, 1]]
        return found | {"variables": ["p", "q"], "mechanism": mechanism}
    return {name: array for name, array in found.items() if not name.startswith("variables")}


SHAPES = {
    "features": (FEATURES,),
    "images": (1, SIDE, SIDE),
    "pairs": (2, SIDE, SIDE),
    "small images": (1, SMALL, SMALL),
    "sequences": (POSITIONS, 4),
}


ALWAYS = frozenset({"train", "ablation"})
CHAIN = frozenset({"circuits", "discovery"})
"""Experiments that take the chain of Linear layers at a network's end."""
OF_CLASSES = frozenset({"iit", "das", "decoder", "probes"})
"""Experiments that every network of classes goes through, if its data have a causal model."""
CLUSTERED = frozenset({"clusters"})


@dataclass(frozen=True)
class Case:
    """A network with the data that it takes, and what a person types for it.

    Attributes:
        factory: its class in this module.
        arguments: of the class.
        output: which of several outputs is the network's.
        defined: the experiments that it goes through.
    """

    factory: str
    kind: str = "features"
    target: str = "classes"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    output: str | None = None
    defined: frozenset[str] = ALWAYS | CHAIN | OF_CLASSES | CLUSTERED

    @property
    def is_value(self) -> bool:
        """Whether its targets are values."""
        return self.target in ("image", "latent")

    def made(self) -> nn.Module:
        """Returns the network as torch has it, in evaluation mode."""
        model: nn.Module = globals()[self.factory](**self.arguments)
        return model.eval()

    def of(self, returned: Any) -> Tensor:
        """Returns the one that is meant of what the network returns."""
        if self.output is None:
            return returned
        if isinstance(returned, tuple):
            return returned[int(self.output)]
        return returned[self.output] if isinstance(returned, dict) else getattr(returned, self.output)

    def typed(self, folder: Path) -> list[str]:
        """Returns the options of data and network, after writing the data."""
        path = folder / f"{self.kind}_{self.target}.npz".replace(" ", "_")
        if not path.exists():
            np.savez(path, **arrays(self.kind, target=self.target))
        own = ["dataset=arrays", f"dataset.path={path}", "model=external", f"model.factory={__name__}:{self.factory}"]
        if self.arguments:
            given = ", ".join(f"{name}: {value}" for name, value in self.arguments.items())
            own.append(f"model.arguments={{{given}}}")
        own += [] if self.output is None else [f"model.output={self.output}"]
        return [*own, *(["dataset.target=value"] if self.is_value else [])]


OF_VALUES = ALWAYS | CHAIN

CASES: Mapping[str, Case] = {
    "mlp": Case("Mlp"),
    "one logit": Case("Mlp", target="either", arguments={"n": 1}),
    "squeezed logit": Case("Mlp", target="either", arguments={"n": 1, "ends_with": "squeeze"}),
    "sigmoid": Case("Mlp", target="either", arguments={"n": 1, "ends_with": "sigmoid"}),
    "softmax": Case("Mlp", target="either", arguments={"n": 2, "ends_with": "softmax"}),
    "lenet": Case("LeNet", "images"),
    "convnet": Case("ConvNet", "images"),
    "resnet": Case("ResNet", "images"),
    "rnn": Case("Rnn", "sequences"),
    "text rnn": Case("TextRnn", "tokens", output="0"),
    "transformer": Case("Transformer", "tokens", output="logits"),
    "encoder": Case("Encoder", "sequences"),
    "autoencoder": Case("Autoencoder", "small images", "image", defined=ALWAYS),
    "dense autoencoder": Case("DenseAutoencoder", "small images", "image", defined=OF_VALUES),
    "kan": Case("Kan", defined=ALWAYS | OF_CLASSES),
    "siamese": Case("Siamese", "pairs"),
    "mixer": Case("Mixer", "images"),
    "vae": Case("Vae", "small images", "image", {"draws": "in training"}, "0", OF_VALUES),
    "vae encoder": Case("VaeEncoder", "small images", "latent", output="mu", defined=OF_VALUES),
}
