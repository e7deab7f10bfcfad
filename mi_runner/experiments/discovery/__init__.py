"""Which methods find good circuits? Each is judged by the best circuits there are."""
