// node many_clients.mjs PLACE TOTAL AT_ONCE: so many requests to an endpoint, so many at once, each on a connection of its own, as
// Azure's libraries make them. PLACE is a socket's path, or a port. Prints how often each outcome came, as JSON. A process of its
// own: a server that shares one with its clients is never short of turns.
import { connect } from "node:net";
import process from "node:process";

const [place = "", total = "", atOnce = ""] = process.argv.slice(2);
const address = place.startsWith("/") ? { path: place } : { host: "127.0.0.1", port: Number(place) };
const request = "GET /msi/token?resource=https://vault.azure.net&api-version=2019-08-01 HTTP/1.1\r\n" +
  `Host: ${"path" in address ? "localhost" : `127.0.0.1:${place}`}\r\nX-IDENTITY-HEADER: secret\r\n\r\n`;
const outcomes = {};
let left = Number(total);

function ask() {
  return new Promise((resolve) => {
    const socket = connect(address, () => socket.write(request));
    let received = "", failure;
    socket.setEncoding("latin1");
    socket.on("data", (text) => received += text);
    socket.on("error", ({ code }) => failure = code);
    socket.on(
      "close",
      () => resolve(failure ?? /^HTTP\/1\.1 (\d+) [^]*\r\n\r\n{.*}$/.exec(received)?.[1] ?? "cut off"),
    );
  });
}

async function askOn() {
  while (left-- > 0) {
    const outcome = await ask();
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  }
}

await Promise.all(Array.from({ length: Number(atOnce) }, askOn));
process.stdout.write(JSON.stringify(outcomes));
