"""The loops over all circuits, compiled by numba. They take arrays, and import nothing of mi-run but `compiled`.

- `activations`: the activations of layers
- `evaluation`: the measures of every circuit of one output; `census`: counts of their correct answers
- `class_evaluation`, `class_census`: the same of several outputs that answer a class together
- `halves`: counts of valid circuits by halves of the last hidden layer's neurons; `matches`: points in boxes;
  `close_pairs`: where rounding decides; `ordering`, `bits`: what these share
- `distances`: the distance of circuits of any chain to the full network's outputs
- `minimality`: the valid circuits inside a circuit; `pairs`: how circuits overlap
"""
