"""Which pixels a unit depends on: `arithmetic` of one layer, `network` for all layers of one, `effective` and `occluder` measure."""
