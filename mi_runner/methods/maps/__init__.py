"""Maps: bijections of a site's space, and how well variables can be swapped through them."""
