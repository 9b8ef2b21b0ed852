/**
 * Puts the password of a proxy into the request for a tunnel. Left to itself, Deno sends it on to the server inside the
 * tunnel as well (seen with 2.6 and 2.9), where it is none of the server's business.
 *
 * @module
 */
import { hostOf, portOf, proxyAuthorization } from "./http_request.ts";

/** A relay on loopback. */
export interface ProxyRelay extends Disposable {
  /** Where it takes its one connection. */
  readonly url: URL;
  /** Why it could not reach the proxy: the client sees its connection end, no more. */
  failure(): unknown;
}

const MAX_HEAD_BYTES = 16 * 1024;

/**
 * Opens a relay to a proxy for one connection to one server: nobody else gets through it.
 *
 * @param deno Deno's namespace.
 * @param proxy The proxy, with user name and password.
 * @param tunnel `target`: the server, as `host:port`; `caCerts`: whom to trust when the proxy itself speaks TLS.
 */
export function openProxyRelay(
  deno: typeof Deno,
  proxy: URL,
  tunnel: { readonly target: string; readonly caCerts: string[] },
): ProxyRelay {
  const listener = deno.listen({ hostname: "127.0.0.1", port: 0 });
  let isOpen = true, failure: unknown;
  const close = () => {
    if (isOpen) listener.close();
    isOpen = false;
  };
  void relay().catch(() => {}); // the client sees its connection end

  async function relay(): Promise<void> {
    const near = await listener.accept();
    near.setNoDelay();
    close();
    try {
      const head = await readHead(near), [first, ...fields] = head.split("\r\n");
      if (first !== `CONNECT ${tunnel.target} HTTP/1.1`) return;
      using far = await connect();
      const authorization = `Proxy-Authorization: ${proxyAuthorization(proxy)}`;
      await writeAll(far, [first, authorization, ...fields].join("\r\n"));
      await Promise.all([near.readable.pipeTo(far.writable), far.readable.pipeTo(near.writable)]);
    } finally {
      near.close();
    }
  }
  async function connect(): Promise<Deno.Conn> {
    const { caCerts } = tunnel, address = { hostname: hostOf(proxy), port: portOf(proxy) };
    try {
      if (proxy.protocol === "http:") {
        const plain = await deno.connect(address);
        plain.setNoDelay();
        return plain;
      }
      const secured = await deno.connectTls({ ...address, caCerts });
      await secured.handshake();
      return secured;
    } catch (error) {
      failure = error;
      throw error;
    }
  }
  return { url: new URL(`http://127.0.0.1:${listener.addr.port}`), failure: () => failure, [Symbol.dispose]: close };
}

async function readHead(connection: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(MAX_HEAD_BYTES);
  let length = 0, head = "";
  while (!head.endsWith("\r\n\r\n")) {
    const count = await connection.read(buffer.subarray(length));
    if (!count) throw new TypeError("no request for a tunnel");
    length += count;
    head = new TextDecoder("latin1").decode(buffer.subarray(0, length));
  }
  return head;
}

async function writeAll(connection: Deno.Conn, text: string): Promise<void> {
  for (let bytes = new TextEncoder().encode(text); bytes.length > 0;) {
    bytes = bytes.subarray(await connection.write(bytes));
  }
}
