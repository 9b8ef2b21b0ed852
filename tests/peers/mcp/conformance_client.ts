// What the conformance suite of MCP runs as a client: the SDK's, through latchkey mcp. Its authorization servers know no OpenID
// Connect, so identity.ts adds ID tokens; a user who names the authority, and the resource if the metadata has another one than
// the URL, stands in for the first lines. The user has agreed to the server's scopes, as by latchkey login --for.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const url = process.argv.at(-1)!, folder = mkdtempSync(join(tmpdir(), "conformance-"));
const { client_id: clientId = "latchkey-conformance" } = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? "{}");
const pathOf = (file: string) => fileURLToPath(new URL(file, import.meta.url)), bun = process.execPath;

/** The options that a user would give for a server: its issuer, and its resource if that is the origin. */
async function optionsFor(server: URL): Promise<readonly string[]> {
  const { status, headers } = await fetch(server, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json, text/event-stream" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "ping" }),
  });
  const atOrigin = ["--authority", server.origin];
  if (status !== 401) return atOrigin; // it asks for no token
  const [, named] = /resource_metadata="([^"]+)"/.exec(headers.get("www-authenticate") ?? "") ?? [];
  const wellKnown = ["", server.pathname].map((path) => `${server.origin}/.well-known/oauth-protected-resource${path}`);
  for (const place of named ? [named] : wellKnown.reverse()) {
    const response = await fetch(place);
    if (!response.ok) continue;
    const { authorization_servers: [issuer], resource } = await response.json();
    return ["--authority", issuer, ...(resource === server.origin ? ["--resource", resource] : [])];
  }
  return [...atOrigin, "--scope", "email"]; // it says nowhere which it needs
}

const env = {
  PATH: process.env.PATH!,
  HOME: folder,
  BROWSER: `${bun} ${pathOf("identity.ts")}`,
  NONCE_FILE: join(folder, "nonce"),
};
const options = ["--client-id", clientId, ...await optionsFor(new URL(url)), "--interactive", "always"];
/** All scopes of the suite's servers, and the one that latchkey asks for if a server names none. */
const SCOPES = ["email", "mcp:basic", "mcp:read", "mcp:write", "mcp:admin"];
const valueOf = (name: string) => options[options.indexOf(name) + 1]!;
const agreed = {
  server: new URL(url).href,
  resource: options.includes("--resource") ? valueOf("--resource") : url,
  authority: valueOf("--authority"),
  client_id: clientId,
  scopes: SCOPES,
};
const state = join(folder, ".local/state/latchkey");
mkdirSync(state, { recursive: true, mode: 0o700 });
writeFileSync(join(state, "agreed_scopes.json"), JSON.stringify({ servers: [agreed] }), { mode: 0o600 });

const preload = ["--preload", pathOf("identity.ts")];
const latchkey = [bun, ...preload, pathOf("../../../bin/latchkey.ts"), "mcp", url, ...options, "--store", "memory"];
const client = new Client(
  { name: "latchkey", version: "1.0.0" },
  { capabilities: { elicitation: { form: { applyDefaults: true } } } },
);
client.setRequestHandler("elicitation/create", () => ({ action: "accept", content: {} }));
try {
  await client.connect(
    new StdioClientTransport({
      ...{ command: latchkey[0]!, args: latchkey.slice(1), env },
      cwd: pathOf("../../../"),
      stderr: "inherit",
    }),
  );
  for (const { name } of (await client.listTools()).tools) await client.callTool({ name, arguments: { a: 2, b: 3 } });
} finally {
  await client.close();
  rmSync(folder, { recursive: true });
}
