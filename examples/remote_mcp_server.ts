// A remote MCP server for tokens of Microsoft Entra ID. It says which tokens it needs, so that clients find out by themselves:
// remote_mcp_server.ts URL TENANT APP_ID [ISSUER KEYS], the URL being what clients use, such as http://localhost:3000/mcp
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import {
  createMcpHandler,
  getOAuthProtectedResourceMetadataUrl,
  McpServer,
  OAuthError,
  OAuthErrorCode,
  requireBearerAuth,
} from "@modelcontextprotocol/server";
import { createRemoteJWKSet, jwtVerify } from "jose";

const [address = "http://localhost:3000/mcp", tenant = "", appId = "", ...other] = "Deno" in globalThis
  ? Deno.args
  : process.argv.slice(2);
if (!appId) throw new Error("remote_mcp_server.ts URL TENANT APP_ID [ISSUER KEYS]");
const url = new URL(address);
const entra = `https://login.microsoftonline.com/${tenant}`;
const [issuer = `${entra}/v2.0`, keys = `${entra}/discovery/v2.0/keys`] = other;
const metadataUrl = getOAuthProtectedResourceMetadataUrl(url);
const keySet = createRemoteJWKSet(new URL(keys));
const metadata = {
  resource: url.href,
  authorization_servers: [issuer],
  scopes_supported: [other.length > 0 ? "api.read" : `api://${appId}/api.read`],
};

const authorize = requireBearerAuth({
  requiredScopes: ["api.read"],
  resourceMetadataUrl: metadataUrl,
  verifier: {
    async verifyAccessToken(token) {
      try {
        const { payload } = await jwtVerify(token, keySet, { issuer, audience: [appId, url.href] });
        const { scp = "", scope = scp, exp: expiresAt = 0, azp = "", client_id = azp, sub, name = sub } = payload;
        return { token, clientId: `${client_id}`, scopes: `${scope}`.split(" "), expiresAt, extra: { name } };
      } catch {
        throw new OAuthError(OAuthErrorCode.InvalidToken, "The token is not valid here");
      }
    },
  },
});

const handler = createMcpHandler(({ authInfo }) => {
  const server = new McpServer({ name: "hello", version: "1.0.0" });
  server.registerTool("hello", { description: "Greets the person who is signed in" }, () => ({
    content: [{ type: "text", text: `Hello ${authInfo?.extra?.name}` }],
  }));
  return server;
});

async function answer(request: Request): Promise<Response> {
  if (request.url === metadataUrl) return Response.json(metadata);
  const authInfo = await authorize(request);
  return authInfo instanceof Response ? authInfo : await handler.fetch(request, { authInfo });
}

createServer(async (incoming, outgoing) => {
  const { method = "GET", headers } = incoming;
  const gone = new AbortController();
  outgoing.on("close", () => gone.abort());
  const body = method === "POST" ? { body: await text(incoming) } : {};
  const init = { method, headers: headers as Record<string, string>, signal: gone.signal, ...body };
  const response = await answer(new Request(new URL(incoming.url ?? "/", url), init));
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  for await (const chunk of response.body ?? []) outgoing.write(chunk);
  outgoing.end();
}).listen(Number(url.port), url.hostname);
