"""The service: python main.py --config static_config.yaml."""

from __future__ import annotations

from mpchat import Ping, daemon_main, minimal_server_component_list

from chat import Chat

components = minimal_server_component_list().append(Ping).append(Chat)

if __name__ == "__main__":
    daemon_main(components)
