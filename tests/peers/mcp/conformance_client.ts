// What the conformance suite of MCP runs as a client: the SDK's, through latchkey mcp. Its authorization servers know no OpenID
// Connect, so identity.ts adds ID tokens; a person who is configured with the authority stands in for the first lines.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const url = process.argv.at(-1)!, folder = mkdtempSync(join(tmpdir(), "conformance-"));
const { client_id: clientId = "latchkey-conformance" } = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? "{}");
const pathOf = (file: string) => fileURLToPath(new URL(file, import.meta.url)), bun = process.execPath;

/** The issuer that a person would have configured: the one that the server names. */
async function authorityOf(server: URL): Promise<string> {
  const { status, headers } = await fetch(server, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json, text/event-stream" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" }),
  });
  if (status !== 401) return server.origin; // it asks for no token
  const [, named] = /resource_metadata="([^"]+)"/.exec(headers.get("www-authenticate") ?? "") ?? [];
  const wellKnown = ["", server.pathname].map((path) => `${server.origin}/.well-known/oauth-protected-resource${path}`);
  for (const place of named ? [named] : wellKnown.reverse()) {
    const response = await fetch(place);
    if (response.ok) return (await response.json()).authorization_servers[0];
  }
  return server.origin;
}

const env = {
  PATH: process.env.PATH!,
  HOME: folder,
  BROWSER: `${bun} ${pathOf("identity.ts")}`,
  NONCE_FILE: join(folder, "nonce"),
};
const words = ["--client-id", clientId, "--authority", await authorityOf(new URL(url)), "--interactive", "always"];
const client = new Client({ name: "latchkey", version: "1.0.0" }, { capabilities: {} });
try {
  await client.connect(
    new StdioClientTransport({
      command: bun,
      args: [
        "--preload",
        pathOf("identity.ts"),
        pathOf("../../../bin/latchkey.ts"),
        "mcp",
        url,
        ...words,
        "--store",
        "memory",
      ],
      env,
      cwd: pathOf("../../../"),
      stderr: "inherit",
    }),
  );
  for (const { name } of (await client.listTools()).tools) await client.callTool({ name, arguments: { a: 2, b: 3 } });
} finally {
  await client.close();
  rmSync(folder, { recursive: true });
}
