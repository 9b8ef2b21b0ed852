// A real OpenID provider, oidc-provider, on loopback: any user name signs in, and all that is asked for is consented to.
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
// @ts-expect-error it brings no types
import { Provider } from "oidc-provider";
import { redirectPath } from "../../lib/redirect_uris.ts";

/** An OpenID provider that runs. */
export interface OidcProvider extends AsyncDisposable {
  /** Its issuer. */
  readonly url: string;
  /** The app that is registered with it. */
  readonly clientId: string;
  /** What tokens were asked for by, such as `refresh_token`, each time that they were given. */
  readonly grants: readonly string[];
  /** Holds the next answer of the token endpoint back: what was asked for is done by then. */
  holdAnswer(): HeldAnswer;
}

/** An answer that the client has to wait for. */
export interface HeldAnswer {
  /** Resolves once the answer is ready. */
  readonly ready: Promise<void>;
  /** Sends it. */
  release(): void;
}

/** Leaves out the provider's advice to those who deploy it, which is no part of a test or a demo. */
const muteAdvice = Object.assign(() => {
  if (muteAdvice.isDone) return;
  muteAdvice.isDone = true;
  const target = console;
  for (const level of ["info", "warn"] as const) {
    const write = target[level];
    target[level] = (...words: unknown[]) => {
      if (!/oidc-provider (NOTICE|WARNING):/.test(String(words[0]))) write.apply(target, words);
    };
  }
}, { isDone: false });

/** Starts a provider on a port that the system chooses. */
export async function startOidcProvider(): Promise<OidcProvider> {
  muteAdvice();
  const clientId = "latchkey-tests";
  let handle: (...args: [request: never, response: never]) => unknown = () => {};
  const holds: ((response: ServerResponse) => void)[] = [];
  const server = createServer((request, response) => {
    if (request.url === "/token") holds.shift()?.(response);
    handle(request as never, response as never);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  // Tokens for a resource are JWTs that name it (RFC 8707, RFC 9068).
  const resourceIndicators = {
    enabled: true,
    getResourceServerInfo: (_context: unknown, resource: string) => ({
      scope: "api.read api.write",
      audience: resource,
      accessTokenFormat: "jwt",
    }),
  };
  const provider = new Provider(url, {
    clients: [{
      client_id: clientId,
      application_type: "native",
      token_endpoint_auth_method: "none",
      grant_types: ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
      // Whatever the port (RFC 8252, 7.3).
      redirect_uris: [
        `http://127.0.0.1${redirectPath(url)}`,
        "http://127.0.0.1/signed-in",
        "http://localhost/signed-in",
      ],
    }],
    features: { deviceFlow: { enabled: true }, claimsParameter: { enabled: true }, resourceIndicators },
    scopes: ["openid", "profile", "offline_access", "api.read", "api.write"],
    claims: { openid: ["sub"], profile: ["name", "preferred_username"] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    rotateRefreshToken: true,
    findAccount: (_context: unknown, id: string) => ({
      accountId: id,
      claims: () => ({ sub: id, name: "Jane Doe", preferred_username: `${id}@contoso.com` }),
    }),
    cookies: { keys: ["tests"] },
  });
  const grants: string[] = [];
  provider.on("grant.success", ({ oidc }: { oidc: { params: { grant_type: string } } }) => {
    grants.push(oidc.params.grant_type);
  });
  handle = provider.callback();
  return {
    url,
    clientId,
    grants,
    holdAnswer() {
      const ready = Promise.withResolvers<void>(), released = Promise.withResolvers<void>();
      holds.push((response) => {
        const end = response.end.bind(response) as (...args: unknown[]) => ServerResponse;
        response.end = (...args: unknown[]) => {
          ready.resolve();
          void released.promise.then(() => end(...args));
          return response;
        };
      });
      return { ready: ready.promise, release: released.resolve };
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
