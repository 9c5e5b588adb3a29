"""Six ways to write the same loss, one file each; see `FORMULATIONS`."""

from components.trainer.config import Formulation
from components.trainer.vae.formulations.add_loss import AddLoss
from components.trainer.vae.formulations.add_loss_tape import AddLossTape
from components.trainer.vae.formulations.explicit_tape import ExplicitTape
from components.trainer.vae.formulations.keras_losses import (
    BinaryCrossentropyOnMean,
    LossFromLogits,
)
from components.trainer.vae.formulations.tfp_layers import TfpLayers
from components.trainer.vae.model import VariationalAutoencoder

FORMULATIONS: dict[Formulation, type[VariationalAutoencoder]] = {
    "a": ExplicitTape,
    "b": TfpLayers,
    "c": LossFromLogits,
    "d": BinaryCrossentropyOnMean,
    "e": AddLoss,
    "f": AddLossTape,
}
