/** A company's proxy for a test: tunnels by CONNECT (RFC 9110, 9.3.6), and answers plain requests by itself. Not a fake. */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import net, { type AddressInfo, type Server, type Socket } from "node:net";
import tls from "node:tls";
import type { Certificate } from "./certificates.ts";

/** What a proxy was asked. */
export interface ProxyRequest {
  /** Such as `CONNECT login.contoso.com:443`. */
  readonly line: string;
  /** User name and password, as `name:password`; `undefined` without. */
  readonly credentials: string | undefined;
}

/** How a proxy behaves. */
export interface ProxyOptions {
  /** Where every tunnel leads, on 127.0.0.1. */
  readonly port: number;
  /** What it wants, as `name:password`. */
  readonly credentials?: string;
  /** With what it refuses. */
  readonly status?: number;
  /** Speaks TLS itself. */
  readonly certificate?: Certificate;
}

export interface ConnectProxy {
  /** Its port on 127.0.0.1. */
  readonly port: number;
  readonly requests: readonly ProxyRequest[];
  stop(): void;
}

/** Starts a proxy. */
export async function startConnectProxy(options: ProxyOptions): Promise<ConnectProxy> {
  const requests: ProxyRequest[] = [], sockets = new Set<Socket>();
  const onConnection = (socket: Socket): void => {
    keep(socket);
    let head = "";
    const read = (chunk: Uint8Array): void => {
      head += Buffer.from(chunk).toString("latin1");
      if (!head.includes("\r\n\r\n")) return;
      socket.off("data", read);
      const request = requestOf(head);
      requests.push(request);
      answer(socket, request);
    };
    socket.on("data", read);
  };
  function keep(socket: Socket): void {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  }
  function answer(socket: Socket, { line, credentials }: ProxyRequest): void {
    if (options.credentials !== undefined && credentials !== options.credentials) {
      return void socket.end(
        "HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n",
      );
    }
    if (options.status) return void socket.end(`HTTP/1.1 ${options.status} No\r\nContent-Length: 0\r\n\r\n`);
    if (!line.startsWith("CONNECT ")) return void socket.end("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nby proxy");
    const server = net.connect(options.port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 Connected\r\n\r\n");
      server.pipe(socket).pipe(server);
    });
    keep(server);
  }
  const { certificate } = options;
  const listener: Server = certificate ? tls.createServer(certificate, onConnection) : net.createServer(onConnection);
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  return {
    port: (listener.address() as AddressInfo).port,
    requests,
    stop() {
      listener.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function requestOf(head: string): ProxyRequest {
  const [, base64] = /^proxy-authorization: *basic +(\S+)/im.exec(head) ?? [];
  return {
    line: head.slice(0, head.indexOf(" HTTP/1.1")),
    credentials: base64 === undefined ? undefined : Buffer.from(base64, "base64").toString(),
  };
}
