/** Stands in for a service that wants tokens, such as Azure's: an HTTP server that answers as a test says. */
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

/** What it was sent. */
export interface ResourceRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** What it answers: an object as JSON. */
export interface ResourceAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** A service that runs. */
export interface Resource extends AsyncDisposable {
  /** Without a slash at its end. */
  readonly origin: string;
  /** What it was sent so far. */
  readonly requests: ResourceRequest[];
  /** How it answers; a test may set it. */
  answer: (request: ResourceRequest) => ResourceAnswer;
}

/** Starts it on a port of loopback that the system chooses. */
export async function startResource(answer: Resource["answer"] = () => ({})): Promise<Resource> {
  const server = createServer(async (request, response) => {
    const { method = "", url: path = "", headers } = request,
      sent = { method, path, headers, body: await text(request) };
    resource.requests.push(sent);
    const { status = 200, headers: more = {}, body = {} } = resource.answer(sent);
    response.writeHead(status, { "content-type": "application/json", ...more });
    response.end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const resource: Resource = {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    answer,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return resource;
}

/** What Azure's services answer to a token that lacks claims. */
export function claimsChallenge(claims: object): string {
  return `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", ` +
    `error="insufficient_claims", claims="${btoa(JSON.stringify(claims))}"`;
}

/** Answers the first token that it sees by a challenge, and any other by what is given. */
export function refusesFirstToken(claims: object, body: unknown): Resource["answer"] {
  let first: string | undefined;
  return ({ headers: { authorization } }) => {
    first ??= authorization;
    if (authorization !== first) return { body };
    return { status: 401, headers: { "www-authenticate": claimsChallenge(claims) } };
  };
}
