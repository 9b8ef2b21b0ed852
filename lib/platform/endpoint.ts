/**
 * An HTTP server for programs of this machine: on a Unix socket that its user alone can reach, or on a port of the loopback
 * interface, which every user of the machine can.
 *
 * @module
 */
import { httpConnections, type HttpService } from "./http_connections.ts";
import { openServer, portError, portOf } from "./open_server.ts";
import { requirePermission } from "./permission.ts";

/** Where it listens; the port 0 lets the system choose one. */
export type EndpointAddress = { readonly path: string } | { readonly port: number };

/** An endpoint that listens. */
export interface Endpoint {
  /** Its port; 0 on a socket. */
  readonly port: number;
  /** Listens no longer, sends the answers that are still due, and ends all connections. */
  close(): Promise<void>;
}

/**
 * Opens an endpoint.
 *
 * @param address Where it listens.
 * @param service What it does.
 * @returns The endpoint.
 * @throws {LatchkeyError} `configuration` when the port or the path is taken, not safe, or not to be had; `missing_dependency`
 * when Deno does not permit it.
 */
export async function openEndpoint<Request extends object>(
  address: EndpointAddress,
  service: HttpService<Request>,
): Promise<Endpoint> {
  const connections = httpConnections(service);
  if ("path" in address) {
    const { listenOnPrivateSocket } = await import("./private_socket.ts");
    const socket = await listenOnPrivateSocket(address.path, connections.accept);
    return {
      port: 0,
      close() {
        socket.close();
        return connections.close();
      },
    };
  }
  const { port } = address, host = "127.0.0.1";
  requirePermission({ name: "net", host: `${host}:${port}` }, port === 0 ? host : `${host}:${port}`);
  const server = await openServer({ host, port }, connections.accept).catch((error) => {
    throw portError(port, error);
  });
  return {
    port: portOf(server),
    close() {
      server.close();
      return connections.close();
    },
  };
}
