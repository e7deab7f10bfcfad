"""Which method finds good circuits? Each is judged by the best circuits there are.

- `edges`: circuits as rows of booleans, the closing of a set of edges
- `masked`: outputs and measures of many circuits at once, with zero or mean ablation, on resampled examples, too
- `scores`: methods that score edges; `search`: ACDC and greedy removal; `edge_pruning`: trained gates
- `rankings`: the circuit that a method stands with at each size
- `optimum`: all circuits, or uniform samples: best circuits, percentiles; `sampling` draws circuits of any chain
- `curves`: areas under curves; `stability`: circuits found on resampled examples; `agreement`: rank correlations
"""
