"""A gateway that runs, and the nbgov.yaml of somebody who is logged in there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nbgov.gateway.control.serving import start_control_plane
from nbgov.gateway.flight.serving import Tls, start_data_plane
from nbgov.gateway.house import House
from nbgov.model import Audience
from tests.gateway_scene import CONFIG, POLICY, make_folder, make_house, token

CLIENT = """
version: 1
connections:
  {name}: {{kind: gateway, url: "grpc://127.0.0.1:{data}", control: "http://127.0.0.1:{control}"{more}}}
"""


@dataclass
class Tokens:
    """What a login gives: a token for each plane, made when it is needed."""

    house: House
    who: str
    made: dict[Audience, str] = field(default_factory=dict)
    forgotten: int = 0

    def of(self, audience: Audience) -> str:
        if audience not in self.made:
            self.made[audience] = token(self.house, self.who, audience)
        return self.made[audience]

    def data(self) -> str:
        return self.of(Audience.DATA)

    def control(self) -> str:
        return self.of(Audience.CONTROL)

    def forget(self) -> None:
        self.forgotten += 1
        self.made.clear()


@dataclass
class Gateway:
    """A gateway that runs, and who is logged in."""

    house: House
    folder: Path
    data: int
    control: int
    who: str = "ada"
    tokens: dict[str, Tokens] = field(default_factory=dict)

    def credentials(self, control_url: str, *, ca: str | None = None) -> Tokens:
        assert (control_url, ca) == (f"http://127.0.0.1:{self.control}", None)
        return self.tokens.setdefault(self.who, Tokens(self.house, self.who))

    def client(self, folder: Path, *, name: str = "warehouse", more: str = "") -> Path:
        """The nbgov.yaml of a client in a folder."""
        folder.mkdir(exist_ok=True)
        path = folder / "nbgov.yaml"
        text = CLIENT.format(name=name, data=self.data, control=self.control, more=more)
        path.write_text(text, encoding="utf-8")
        return path


@contextmanager
def running(
    folder: Path, *, config: str = CONFIG, policy: str = POLICY, tls: Tls | None = None
) -> Iterator[Gateway]:
    """A gateway on a warehouse in a folder."""
    house = make_house(make_folder(folder, config=config, policy=policy))
    data = start_data_plane(house, "127.0.0.1:0", tls=tls)
    control = start_control_plane(house, None, "127.0.0.1:0", tls=tls)
    try:
        yield Gateway(house, folder, data.port, control.port)
    finally:
        control.stop()
        data.stop()
        house.close()
