"""The doctor's examinations: a machine's before an installation, a target's before measuring."""

from typing import TYPE_CHECKING, Literal

from gpu_timing_assets.core.data_root import default_data_root
from gpu_timing_assets.core.errors import BusyError, DeviceError
from gpu_timing_assets.core.locks import lock_holder
from gpu_timing_assets.doctor import machine_checks
from gpu_timing_assets.doctor.findings import Finding, Verdict, refuse

if TYPE_CHECKING:
    from gpu_timing_assets.config.experiment import ExperimentConfig

Purpose = Literal["demo", "dev", "stage"]
# the demo's engine before its settings can be read: a tiny model with a KV cache of 1 GiB
DEMO_MEMORY_BYTES = 5 * 2**29


def examine_machine(device: str) -> list[Finding]:
    """What decides whether installing is of any use; needs no package."""
    return [
        machine_checks.cpu(device),
        machine_checks.cores(),
        machine_checks.memory(DEMO_MEMORY_BYTES),
        machine_checks.disk(default_data_root(), device, installed=False),
        machine_checks.gpus(),
    ]


def examine(config: "ExperimentConfig", purpose: Purpose) -> list[Finding]:
    """Everything that `purpose` needs of this machine for the target of `config`."""
    from gpu_timing_assets.engines.base import engine_plugin
    from gpu_timing_assets.engines.memory import memory_needed_bytes

    hardware, backend, to_a_person = config.hardware, config.backend, purpose != "stage"
    engine = engine_plugin(backend.name)
    there = _devices(config)
    findings = []
    if engine.computes:
        findings.append(machine_checks.cpu(hardware.device, hardware.cpu_instruction_set))
    if to_a_person:
        findings.append(machine_checks.cores())
    if engine.computes:
        findings.append(machine_checks.memory(memory_needed_bytes(config.model, hardware)))
    findings += [machine_checks.disk(config.data.path, hardware.device, installed=True), there]
    if engine.installed and backend.python is None:
        findings.append(machine_checks.engine(hardware.device, hardware.cpu_instruction_set))
    if to_a_person:
        from gpu_timing_assets.config.settings import load_settings

        settings = load_settings()
        ports = [settings.dagster_port, settings.reports_port]
        findings.append(machine_checks.ports(ports, needed=purpose == "dev"))
        if there.verdict == "ok":
            findings.append(_holder(config, purpose))
    return findings


def preflight(config: "ExperimentConfig") -> None:
    """A stage with an engine begins so. Raises the first finding that makes it impossible."""
    refuse(examine(config, "stage"))


def _devices(config: "ExperimentConfig") -> Finding:
    from gpu_timing_assets.engines.device import device_name

    if config.hardware.device == "cpu":
        return machine_checks.gpus()
    try:
        return Finding("ok", "GPU", device_name(config.hardware))
    except DeviceError as error:
        text, _, remedy = str(error).rpartition(": ")
        return Finding("cannot", "GPU", text, remedy)


def _holder(config: "ExperimentConfig", purpose: Purpose) -> Finding:
    """Who measures on the target's device at this moment."""
    from gpu_timing_assets.engines.device import device_locks

    locks = device_locks(config.hardware, config.backend.tensor_parallel_size)
    for device, path in locks.items():
        if holder := lock_holder(path):
            verdict: Verdict = "cannot" if purpose == "demo" else "warning"
            text, remedy = f"{device} is in use by {holder}", "wait for it or end it"
            return Finding(verdict, "device", text, remedy, BusyError)
    return Finding("ok", "device", f"{', '.join(locks)} free")
