// Calls a tool of a remote MCP server that needs a token, through latchkey mcp: mcp_client.ts URL TOOL [OPTION…], with the
// options of latchkey mcp, such as --client-id ID
// deno-lint-ignore-file no-console -- an example prints
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const [url = "", tool = "", ...options] = "Deno" in globalThis ? Deno.args : process.argv.slice(2);
if (!tool) throw new Error("mcp_client.ts URL TOOL [OPTION…]");
const env = "Deno" in globalThis ? Deno.env.toObject() : process.env as Record<string, string>;

const client = new Client({ name: "example", version: "1.0.0" });
// The command gets the token. This program never sees it.
await client.connect(new StdioClientTransport({ command: "latchkey", args: ["mcp", url, ...options], env }));
try {
  const { content } = await client.callTool({ name: tool, arguments: {} });
  for (const part of content) if (part.type === "text") console.log(part.text);
} finally {
  await client.close();
}
