"""Which job goes to which device: decided purely, carried out by ``controller.fleet``."""
