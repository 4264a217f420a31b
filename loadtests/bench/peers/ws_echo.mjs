// The echo of ws' documentation, with its way to find broken connections when it is to ping.

import { WebSocketServer } from "ws";

const [port, ...words] = process.argv.slice(2);
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(port),
  perMessageDeflate: words.includes("deflate"),
});

server.on("connection", (websocket) => {
  websocket.isAlive = true;
  websocket.on("error", console.error);
  websocket.on("pong", () => {
    websocket.isAlive = true;
  });
  websocket.on("message", (data, isBinary) => {
    websocket.send(data, { binary: isBinary });
  });
});

if (words.includes("pings")) {
  setInterval(() => {
    for (const websocket of server.clients) {
      if (!websocket.isAlive) {
        websocket.terminate();
        continue;
      }
      websocket.isAlive = false;
      websocket.ping();
    }
  }, 1000 * Number(words.at(-1)));
}
