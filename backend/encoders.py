"""Which encoders a job that is posted may name: a trainer looks for a name on its disk, then on the model hub."""

from fedmem.config import ExperimentConfig
from fedmem.errors import ConfigError
from web.settings import parts

ANY = "*"
SHIPPED = "all-MiniLM-L6-v2,clip-ViT-B-32,descriptor"


def refuse_other_encoders(config: ExperimentConfig, listed: str, known: ExperimentConfig) -> None:
    """Refuse an encoder that neither the operator nor the settings that a job has by itself name.

    Args:
        config: the job's.
        listed: FEDMEM_ENCODERS, separated by commas.
        known: the installation's settings, or those of the job that is continued.

    Raises:
        ConfigError: naming key and value.
    """
    allowed, own = parts(listed), _encoders(known)
    for key, name in _encoders(config).items():
        if ANY not in allowed and name not in (*allowed, own[key]):
            raise ConfigError(
                f"{key} = {name!r}: a job that is posted may name {', '.join(allowed) or 'no encoder'}; whoever runs "
                "this installation can list others in FEDMEM_ENCODERS, or name one for all jobs in FEDMEM_JOB_CONFIG"
            )


def _encoders(config: ExperimentConfig) -> dict[str, str]:
    return {
        "model.text_model_name": config.model.text_model_name,
        "features.image_model_name": config.features.image_model_name,
    }
