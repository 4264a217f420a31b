"""userver's sample websocket_service, line by line; the comments give the C++ of each line.

The loop is written out as in C++; `echo.py` uses `async for`.
"""

from __future__ import annotations

from mpchat import (
    Context,  # server::request::RequestContext
    WebSocketConnection,
    WebsocketHandlerBase,
    daemon_main,  # utils::DaemonMain
    minimal_server_component_list,  # components::MinimalServerComponentList
)


class WebsocketsHandler(WebsocketHandlerBase):  # final: public WebsocketHandlerBase
    """The echo."""

    name = "websocket-handler"  # kName: the component's name in the static config

    # The constructor is inherited: `using WebsocketHandlerBase::WebsocketHandlerBase`

    async def handle(self, chat: WebSocketConnection, context: Context) -> None:  # Handle
        while True:  # not ShouldCancel(): when the service stops, recv raises
            message = await chat.recv()  # Recv(message): raises when the connection has ended
            # No `if (message.close_status) break`: a Close is not a message. mpchat answers it
            # with the client's own code, and recv raises, which is the handler's normal end.
            await chat.send(message)  # Send(message): str is text, bytes are binary


if __name__ == "__main__":  # int main(int argc, char* argv[])
    component_list = minimal_server_component_list().append(WebsocketsHandler)
    daemon_main(component_list)  # does not return: the process exits with the exit code
