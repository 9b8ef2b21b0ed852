// node upstream_programs.mjs ROLE …: what `latchkey serve --upstream` is measured with.
//   service CERT KEY                  a server over TLS that answers GET /BYTES with so many bytes, and a PUT with its length; it prints its port
//   transfer PORT HOST METHOD BYTES   sends or gets so many bytes, and prints how long that took in ms
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import process from "node:process";

const [role, ...words] = process.argv.slice(2);
const PIECE = Buffer.alloc(64 * 1024);
const SECRET = "s".repeat(40); // as in upstream_proxy.ts

const roles = { service, transfer };
await roles[role](...words);

function print(value) {
  process.stdout.write(`${value}\n`);
}

function service(certificate, key) {
  const server = https.createServer(
    { cert: readFileSync(certificate), key: readFileSync(key) },
    (request, response) => {
      if (request.method === "PUT") {
        let length = 0;
        request.on("data", (piece) => length += piece.length);
        return request.on("end", () => response.end(`${length}`));
      }
      const bytes = request.url.slice(1);
      response.writeHead(200, { "content-length": bytes });
      writeAll(response, Number(bytes));
    },
  );
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
