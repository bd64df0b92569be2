"""What is compared: one metric a module, under `METRIC`; `registry` finds them."""
