/**
 * Servers on an address of this machine.
 *
 * @module
 */
import type { AddressInfo, Server, Socket } from "node:net";
import { LatchkeyError } from "../errors.ts";

/** Where a server listens: a port of an address, or a Unix socket. */
export type ServerAddress =
  | { readonly host: "127.0.0.1" | "::1"; readonly port: number }
  | { readonly path: string };

/**
 * Opens a server.
 *
 * @param address Where; the port 0 lets the system choose one.
 * @param onConnection Takes the connections.
 * @returns The server, which listens.
 * @throws {Error} the system's own.
 */
export async function openServer(address: ServerAddress, onConnection: (socket: Socket) => void): Promise<Server> {
  const { createServer } = await import("node:net");
  return await new Promise((resolve, reject) => {
    const server = createServer(onConnection);
    // Later ones are of a connection that could not be taken, as with too many files open: whoever made it has its error.
    server.on("error", reject).once("listening", () => resolve(server));
    // `exclusive`: the workers of a cluster would share the port.
    server.listen({
      ...address,
      backlog: 4096,
      exclusive: true,
      ipv6Only: "host" in address && address.host === "::1",
    });
  });
}

/** The port that a server listens on. */
export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

/** Why a port of the loopback interface cannot be listened on. */
export function portError(port: number, error: unknown): LatchkeyError {
  const { code } = error as { code?: string };
  const why = code === "EADDRINUSE" ? "another program has it" : `the system does not give it (${code})`;
  return new LatchkeyError("configuration", `Cannot listen on port ${port} of the loopback interface: ${why}`, {
    hint: "Choose another port, or none, so that the system chooses one",
  });
}
