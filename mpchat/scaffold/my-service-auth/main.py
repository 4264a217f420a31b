"""The service: python main.py --config static_config.yaml."""

from __future__ import annotations

from mpchat import BearerAuth, CookieAuth, Ping, daemon_main, minimal_server_component_list

from chat import Chat
from login import Login, Logout

components = minimal_server_component_list()
for component in (Ping, CookieAuth, BearerAuth, Login, Logout, Chat):
    components.append(component)

if __name__ == "__main__":
    daemon_main(components)
