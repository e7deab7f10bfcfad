"""The loops over all circuits, compiled by numba. They take arrays, and import nothing of mi-run but `compiled`.

- `activations`: the activations of layers
- `evaluation`: the measures of every circuit; `census`: counts of their correct answers
- `distances`: the distance of circuits of any chain to the full network's outputs
- `minimality`: the valid circuits inside a circuit; `pairs`: how circuits overlap
"""
