// An MCP server on standard input and output. Its tool asks an API who the person is, with the person's own token from the
// device's broker: mcp_server.ts CLIENT_ID [https://graph.microsoft.com https://graph.microsoft.com/User.Read]
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { AuthenticationRequiredError, authorizedFetch, LatchkeyCredential } from "@latchkey/latchkey/azure";

const [clientId = "", api = "https://graph.microsoft.com", scope = `${api}/User.Read`] = "Deno" in globalThis
  ? Deno.args
  : process.argv.slice(2);
if (!clientId) throw new Error("mcp_server.ts CLIENT_ID [API SCOPE]");
const credential = new LatchkeyCredential({
  clientId,
  enableBrokerOnWindows: true,
  enableBrokerOnMac: true,
  enableBrokerOnLinux: true,
  enableBrokerOnWsl: true,
  interactive: "never", // a tool that a model calls must not open a window
});
// The model never sees the token, and only the API receives it.
const fetchFromApi = authorizedFetch(credential, { scopes: scope, origins: [api] });

const server = new McpServer({ name: "who-am-i", version: "1.0.0" });
server.registerTool("who_am_i", { description: "The profile of the person who is signed in" }, async ({ signal }) => {
  const contentOf = (text: string) => [{ type: "text" as const, text }];
  try {
    const response = await fetchFromApi(`${api}/v1.0/me`, { signal });
    return { content: contentOf(await response.text()), isError: !response.ok };
  } catch (error) {
    if (!(error instanceof AuthenticationRequiredError)) throw error;
    return { content: contentOf(`The person has to sign in first. ${error.message}`), isError: true };
  }
});
server.server.onclose = () => credential.close();
await server.connect(new StdioServerTransport());
