"""What export and runtime share: the backbones, the bundle contract and the bundle library."""
