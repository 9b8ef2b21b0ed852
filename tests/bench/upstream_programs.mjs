// node upstream_programs.mjs ROLE …: what `latchkey serve --upstream` is measured with. A server prints its port.
//   service CERT KEY          answers GET /ITEM with 1 kB, GET /BYTES with so many bytes, and a PUT with its length; over TLS with a certificate
//   http-proxy MODULE ORIGIN  the package http-proxy, which adds a header and removes the first segment of the path
//   requests PORT HOST CONNECTIONS COUNT   sends so many requests for an item, and prints how long they took in ms
//   transfer PORT HOST METHOD BYTES        sends or gets so many bytes, and prints how long that took in ms
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { connect } from "node:net";
import process from "node:process";
import { pathToFileURL } from "node:url";

const [role, ...words] = process.argv.slice(2);
const ITEM = Buffer.alloc(1000, "x"), PIECE = Buffer.alloc(64 * 1024);
/** Also known to upstream_proxy.ts. */
const SECRET = "s".repeat(40), TOKEN = "t".repeat(1500);

function print(value) {
  process.stdout.write(`${value}\n`);
}

const roles = { service, "http-proxy": httpProxy, requests, transfer };
await roles[role](...words);

function service(certificate, key) {
  const answer = (request, response) => {
    if (request.method === "PUT") {
      let length = 0;
      request.on("data", (piece) => length += piece.length);
      return request.on("end", () => response.end(`${length}`));
    }
    const bytes = /^\/(\d+)$/.exec(request.url)?.[1];
    if (bytes === undefined) {
      response.writeHead(200, { "content-type": "application/json", "content-length": ITEM.length });
      return response.end(ITEM);
    }
    response.writeHead(200, { "content-length": bytes });
    writeAll(response, Number(bytes));
  };
  const server = certificate
    ? https.createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, answer)
    : http.createServer(answer);
  server.listen(0, "127.0.0.1", () => print(server.address().port));
}

function writeAll(stream, bytes) {
  let left = bytes;
  const more = () => {
    let isRoom = true;
    while (left > 0 && isRoom) {
      const piece = PIECE.subarray(0, left);
      left -= piece.length;
      isRoom = stream.write(piece);
    }
    if (left > 0) stream.once("drain", more);
    else stream.end();
  };
  more();
}

async function httpProxy(module, target) {
  const { default: { createProxyServer } } = await import(pathToFileURL(module).href);
  const agent = new http.Agent({ keepAlive: true, maxFreeSockets: 256 });
  const proxy = createProxyServer({ target, agent, headers: { authorization: `Bearer ${TOKEN}` } });
  const server = http.createServer((request, response) => {
    request.url = request.url.replace(/^\/[^/]*/, "");
    proxy.web(request, response);
  });
  server.listen(0, "127.0.0.1", () => print(server.address().port));
}

async function requests(port, host, connections, count) {
  const request = `GET /${host}/v1.0/me HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nX-Latchkey-Secret: ${SECRET}\r\n` +
    "Accept: application/json\r\nUser-Agent: bench\r\n\r\n";
  const begin = performance.now();
  let left = Number(count);
  const oneClient = () =>
    new Promise((resolve, reject) => {
      const socket = connect(Number(port), "127.0.0.1");
      let received = "";
      const next = () => {
        left--;
        if (left < 0) return socket.destroy();
        socket.write(request);
      };
      socket.setEncoding("latin1").on("connect", next).on("error", reject).on("close", resolve);
      socket.on("data", (piece) => {
        received += piece;
        const end = received.indexOf("\r\n\r\n");
        if (end === -1 || received.length < end + 4 + ITEM.length) return;
        if (!received.startsWith("HTTP/1.1 200")) reject(new Error(received));
        received = "";
        next();
      });
    });
  await Promise.all(Array.from({ length: Number(connections) }, oneClient));
  print(performance.now() - begin);
}

async function transfer(port, host, method, bytes) {
  const begin = performance.now(), isUpload = method === "PUT";
  const headers = { "X-Latchkey-Secret": SECRET, ...(isUpload && { "content-length": bytes }) };
  const sent = http.request({ host: "127.0.0.1", port, path: `/${host}/${bytes}`, method, headers });
  if (isUpload) writeAll(sent, Number(bytes));
  else sent.end();
  let length = 0, text = "";
  const response = await new Promise((resolve, reject) => sent.on("response", resolve).on("error", reject));
  for await (const piece of response) {
    length += piece.length;
    if (isUpload) text += piece;
  }
  if (`${isUpload ? text : length}` !== bytes) throw new Error(`${response.statusCode}: ${length} bytes ${text}`);
  print(performance.now() - begin);
}
