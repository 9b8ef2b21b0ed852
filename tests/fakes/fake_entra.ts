// Stands in for Microsoft Entra ID (also B2C, External ID and ADFS): its endpoints, error shapes, client_info, families of apps, claims challenges and issuers.
import { Buffer } from "node:buffer";
import { createHash, randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

export const TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47";
export const JANE = "0f2b9a6e-6c3f-4a2f-8d5e-3b1c2d4e5f60";

/** What was asked. */
export interface EntraRequest {
  /** Host and path as the client had them. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly parameters: URLSearchParams;
}

/** An answer in place of the usual one. */
export interface ScriptedAnswer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Object: as JSON. */
  readonly body?: unknown;
}

/** What a refusal says. */
export interface EntraRefusal {
  readonly error: string;
  /** AADSTS number. */
  readonly number: number;
  readonly text: string;
  readonly suberror?: string;
  /** A claims challenge. */
  readonly claims?: string;
}

/** What a test changes. All can be set at any time. */
export interface EntraBehaviour {
  /** Answers of the token and device code endpoints, instead of their own, one each. */
  answers: (ScriptedAnswer | EntraRefusal)[];
  /** Changes the claims of id tokens. `undefined` leaves a claim out. */
  idToken: Record<string, unknown>;
  /** Changes the header of id tokens. */
  header: Record<string, unknown>;
  /** Changes token answers. */
  reply: Record<string, unknown>;
  /** Apps of one family. */
  family: string[];
  /** What discovery documents say besides, or instead. */
  metadata: Record<string, unknown>;
}

interface Grant {
  readonly parameters: URLSearchParams;
  readonly tenant: string;
  redeemed?: boolean;
}

/** A server that runs. */
export class FakeEntra implements AsyncDisposable {
  readonly requests: EntraRequest[] = [];
  readonly #codes = new Map<string, Grant>();
  readonly #refreshTokens = new Map<string, string>();
  readonly #devices = new Map<string, { approved: boolean; userCode: string }>();
  readonly #server: Server = createServer((request, response) => void this.#answer(request, response));
  behaviour: EntraBehaviour = quiet();

  /** Starts a server on a port that the system chooses. */
  static async start(): Promise<FakeEntra> {
    const fake = new FakeEntra();
    await fake.listen();
    return fake;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => void this.#server.listen(0, "127.0.0.1", resolve));
  }

  /** Sends what is meant for Microsoft's hosts, or any other, to this server. */
  readonly fetch = async (url: string, init: RequestInit = {}): Promise<Response> => {
    const { host, pathname, search } = new URL(url), { port } = this.#server.address() as AddressInfo;
    const headers = { ...init.headers as Record<string, string>, "x-host": host };
    return await fetch(`http://127.0.0.1:${port}${pathname}${search}`, { ...init, headers });
  };

  /** Forgets what was asked, and what a test changed. */
  reset(): void {
    this.requests.length = 0;
    this.behaviour = quiet();
  }

  /** The person signs in and consents at an authorization request's address. What the app is then told. */
  authorize(address: string): URLSearchParams {
    const { pathname, searchParams: parameters } = new URL(address), code = randomUUID();
    this.#codes.set(code, { parameters, tenant: pathname.split("/")[1]! });
    return new URLSearchParams({
      code,
      state: parameters.get("state") ?? "",
      session_state: randomUUID(),
      client_info: clientInfo(),
    });
  }

  /** The person types the code of a device flow. */
  approve(userCode: string): void {
    for (const device of this.#devices.values()) if (device.userCode === userCode) device.approved = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const host = String(request.headers["x-host"]), path = request.url!.split("?")[0]!;
    const parameters = new URLSearchParams(await text(request));
    this.requests.push({ url: host + path, headers: request.headers, parameters });
    const { status = 200, headers = {}, body } = this.#answerOf(host, path, parameters);
    const isText = typeof body === "string";
    response.writeHead(status, { "content-type": isText ? "text/html" : "application/json", ...headers });
    response.end(isText ? body : JSON.stringify(body ?? {}));
  }

  #answerOf(host: string, path: string, parameters: URLSearchParams): ScriptedAnswer {
    const [tenant = ""] = path.split("/").filter(Boolean);
    if (path.endsWith("/.well-known/openid-configuration")) return { body: this.#metadata(host, path) };
    const scripted = this.behaviour.answers.shift();
    if (scripted) return "error" in scripted ? refuse(scripted) : scripted;
    if (path.endsWith("/devicecode")) return { body: this.#startDevice() };
    if (!path.endsWith("/token")) return { status: 404, body: "Not found" };
    switch (parameters.get("grant_type")) {
      case "authorization_code":
        return this.#redeem(parameters);
      case "refresh_token":
        return this.#refresh(parameters, tenant);
      case "urn:ietf:params:oauth:grant-type:device_code":
        return this.#poll(parameters, tenant);
      default:
        return refuse({ error: "unsupported_grant_type", number: 70003, text: "The grant is not supported." });
    }
  }

  #redeem(parameters: URLSearchParams): ScriptedAnswer {
    const grant = this.#codes.get(parameters.get("code") ?? "");
    const wrong = (number: number, text: string) => refuse({ error: "invalid_grant", number, text });
    if (!grant) return wrong(70000, "The code is not valid.");
    if (grant.redeemed) return wrong(54005, "OAuth2 Authorization code was already redeemed.");
    const verifier = parameters.get("code_verifier") ?? "";
    if (createHash("sha256").update(verifier).digest("base64url") !== grant.parameters.get("code_challenge")) {
      return wrong(
        501481,
        "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
      );
    }
    if (parameters.get("redirect_uri") !== grant.parameters.get("redirect_uri")) {
      return wrong(50011, "The redirect URI does not match.");
    }
    if (parameters.get("client_id") !== grant.parameters.get("client_id")) {
      return wrong(700005, "The code is another app's.");
    }
    grant.redeemed = true;
    return this.#token(parameters, grant.tenant, grant.parameters.get("nonce"));
  }

  #refresh(parameters: URLSearchParams, tenant: string): ScriptedAnswer {
    const { family } = this.behaviour, clientId = parameters.get("client_id")!;
    const owner = this.#refreshTokens.get(parameters.get("refresh_token") ?? "");
    if (!owner) {
      return refuse({ error: "invalid_grant", suberror: "bad_token", number: 9002313, text: "Invalid refresh token." });
    }
    if (owner !== clientId && !(family.includes(owner) && family.includes(clientId))) {
      return refuse({
        error: "invalid_grant",
        suberror: "client_mismatch",
        number: 70000,
        text: "The token is another app's.",
      });
    }
    return this.#token(parameters, tenant, null);
  }

  #startDevice(): Record<string, unknown> {
    const device_code = randomUUID(), user_code = randomUUID().slice(0, 8).toUpperCase();
    this.#devices.set(device_code, { approved: false, userCode: user_code });
    const verification_uri = "https://microsoft.com/devicelogin";
    const message = `To sign in, open ${verification_uri} and enter ${user_code}`;
    return { device_code, user_code, verification_uri, expires_in: 900, interval: 5, message };
  }

  #poll(parameters: URLSearchParams, tenant: string): ScriptedAnswer {
    const device = this.#devices.get(parameters.get("device_code") ?? "");
    if (!device) return refuse({ error: "bad_verification_code", number: 70018, text: "The code is not known." });
    if (!device.approved) {
      return refuse({ error: "authorization_pending", number: 70016, text: "The person has not signed in yet." });
    }
    return this.#token(parameters, tenant, null);
  }

  #token(parameters: URLSearchParams, tenant: string, nonce: string | null): ScriptedAnswer {
    const { idToken, header, reply, family } = this.behaviour, clientId = parameters.get("client_id")!;
    const refresh_token = `1.${randomUUID()}`,
      now = Math.floor(Date.now() / 1000),
      tid = isGuid(tenant) ? tenant : TENANT;
    this.#refreshTokens.set(refresh_token, clientId);
    const claims = {
      ...{
        aud: clientId,
        iss: `https://login.microsoftonline.com/${tid}/v2.0`,
        iat: now - 300,
        nbf: now - 300,
        exp: now + 3600,
      },
      ...{
        auth_time: now,
        name: "Jane Doe",
        preferred_username: "jane@contoso.com",
        oid: JANE,
        sub: "pairwise",
        tid,
        ver: "2.0",
      },
      ...(nonce !== null && { nonce }),
      ...idToken,
    };
    return {
      body: {
        ...{
          token_type: "Bearer",
          scope: parameters.get("scope") ?? "User.Read openid profile",
          expires_in: 4000,
          ext_expires_in: 8000,
        },
        ...{
          access_token: jwt({ alg: "RS256", typ: "JWT" }, { aud: "resource", tid, uti: randomUUID() }),
          refresh_token,
        },
        ...{ id_token: jwt({ alg: "RS256", typ: "JWT", kid: "1", ...header }, claims), client_info: clientInfo() },
        ...(family.includes(clientId) && { foci: "1" }),
        ...reply,
      },
    };
  }

  #metadata(host: string, path: string): Record<string, unknown> {
    const base = `https://${host}${path.replace(/(\/v2\.0)?\/\.well-known\/.*/, "")}`;
    return {
      issuer: base,
      authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
      token_endpoint: `${base}/oauth2/v2.0/token`,
      device_authorization_endpoint: `${base}/oauth2/v2.0/devicecode`,
      response_modes_supported: ["query", "fragment", "form_post"],
      id_token_signing_alg_values_supported: ["RS256"],
      scopes_supported: ["openid", "profile", "email", "offline_access"],
      ...this.behaviour.metadata,
    };
  }
}

function quiet(): EntraBehaviour {
  return { answers: [], idToken: {}, header: {}, reply: {}, family: [], metadata: {} };
}

function refuse(refusal: EntraRefusal): ScriptedAnswer {
  return { status: 400, body: entraError(refusal) };
}

function isGuid(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
}

function clientInfo(): string {
  return encode({ uid: JANE, utid: TENANT });
}

/** Signed by nobody: an id token that comes from the token endpoint by TLS needs no signature. */
export function jwt(header: unknown, claims: unknown): string {
  return [encode(header), encode(claims), "c2lnbmF0dXJl"].join(".");
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

/** Returns the JSON of a refusal, in Microsoft Entra ID's shape. */
export function entraError({ error, number, text, suberror, claims }: EntraRefusal): Record<string, unknown> {
  const correlation_id = randomUUID();
  const trace_id = randomUUID();
  const timestamp = new Date().toISOString().replace(/\.\d+/, "");
  return {
    error,
    error_description:
      `AADSTS${number}: ${text} Trace ID: ${trace_id} Correlation ID: ${correlation_id} Timestamp: ${timestamp}`,
    error_codes: [number],
    timestamp,
    trace_id,
    correlation_id,
    error_uri: `https://login.microsoftonline.com/error?code=${number}`,
    ...(suberror && { suberror }),
    ...(claims && { claims }),
  };
}
