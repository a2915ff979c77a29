"""What the exporting and the dreaming side agree on: backbones, the bundle contract, the bundle library."""
