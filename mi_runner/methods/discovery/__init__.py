"""Which method finds good circuits? Each is judged by the best circuits there are.

- `records`: every method with its cost and its paper; `find`: the circuits of any of them
- `masked`: what circuits are worth: measures of many at once, on resampled examples, too
- `scores`: methods that score edges; `search`: ACDC and greedy removal; `edge_pruning` and
  `subnetwork_probing`: trained gates (`gates`)
- `rankings`: the circuit that a method stands with at each size
- `optimum`: all circuits, or uniform samples: best circuits, percentiles; `sampling` draws circuits of any chain
- `curves`: areas under curves; `stability`: circuits found on resampled examples; `agreement`: rank correlations
"""
