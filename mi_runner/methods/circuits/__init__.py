"""How many different sub-networks explain the same behaviour? (Méloux et al., ICLR 2025)

- `space`: the well-formed circuits of a chain of layers: their number, their numbering by bits, their masks
- `part`: the analysed part of a network: the Linear layers at its end, and what they compute with some edges left out
- `kernel`: what every circuit of a space answers, computed with shared work
- `evaluation`: from a part and its data to a table of circuits, or to a census where a row each would be too much
"""
