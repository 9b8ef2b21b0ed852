// A company's network: its own certificate authority, its proxy. Real ones, on every runtime.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import http, { type IncomingMessage, type RequestListener } from "node:http";
import https from "node:https";
import net, { type AddressInfo, type Server } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { inspect } from "node:util";
import { makeFetch } from "../../../lib/http/client.ts";
import { sendByNode } from "../../../lib/http/node.ts";
import { type CertificateAuthority, makeCertificateAuthority } from "../../fakes/certificates.ts";
import { type ConnectProxy, type ProxyOptions, startConnectProxy } from "../../fakes/connect_proxy.ts";
import { rejection } from "../../fixture.ts";

/** What a server got. */
interface Received {
  readonly method: string;
  readonly url: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

const stops: (() => void)[] = [];
let folder: string;
let authority: CertificateAuthority;
/** The variable that names the authority. */
let trusted: Readonly<Record<string, string>>;
/** Ports: of a server with a certificate of the authority, of one with one that is out of time, and of one without. */
let secure: number, expired: number, plain: number;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "http-client-"));
  authority = makeCertificateAuthority();
  const file = join(folder, "authority.pem");
  await writeFile(file, `Contoso's own\n${authority.cert}`);
  trusted = { SSL_CERT_FILE: file };
  secure = await listen(https.createServer(authority.issue(["localhost", "login.contoso.com"]), answer));
  expired = await listen(https.createServer(authority.issue(["localhost"], new Date(Date.now() - 60_000)), answer));
  plain = await listen(http.createServer(answer));
});

afterAll(async () => {
  for (const stop of stops) stop();
  await rm(folder, { recursive: true });
});

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stops.push(() => {
    server.close();
    if ("closeAllConnections" in server) (server as http.Server).closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** Tells what was received. */
const answer: RequestListener = async (request, response) => {
  const { method, url = "", headers } = request;
  if (url === "/redirect") return void response.writeHead(302, { location: "/elsewhere" }).end();
  if (url === "/empty") return void response.writeHead(204).end();
  if (url === "/stall") return void response.writeHead(200).write("beginning");
  response.writeHead(200, { "content-type": "application/json", "x-test": "a" });
  response.end(JSON.stringify({ method, url, headers, body: await textOf(request) }));
};

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function startProxy(options: Partial<ProxyOptions> = {}): Promise<ConnectProxy> {
  const proxy = await startConnectProxy({ port: secure, ...options });
  stops.push(() => proxy.stop());
  return proxy;
}

function fetchWith(variables: Readonly<Record<string, string>>): ReturnType<typeof makeFetch> {
  return makeFetch({ variable: (name) => variables[name] });
}

async function receivedBy(response: Promise<Response>): Promise<Received> {
  return await (await response).json();
}

const form = { method: "POST", body: new URLSearchParams({ code: "ä", scope: "a b" }) };
const FORM_TEXT = "code=%C3%A4&scope=a+b";
const trustHint = expect.stringMatching(/\b(DENO_CERT|NODE_EXTRA_CA_CERTS)\b/);

/** A signal that is never aborted, and how many listen for it. */
function countedSignal(): { readonly signal: AbortSignal; count(): number } {
  const { signal } = new AbortController(), listeners = new Set<unknown>();
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...[type, listener, options]: Parameters<typeof addEventListener>) => {
    listeners.add(listener);
    addEventListener.call(signal, type, listener, options);
  };
  signal.removeEventListener = (...[type, listener, options]: Parameters<typeof removeEventListener>) => {
    listeners.delete(listener);
    removeEventListener.call(signal, type, listener, options);
  };
  return { signal, count: () => listeners.size };
}

test("makeFetch() turns off the time limits of Node and Bun, five minutes, for a patient caller only", async () => {
  const own = globalThis.fetch, given: Record<string, unknown>[] = [];
  const observed = (url: string | URL | Request, init: RequestInit = {}) => {
    given.push({ ...init });
    return own(url, init);
  };
  globalThis.fetch = observed as typeof fetch;
  try {
    for (const isPatient of [false, true]) {
      const send = makeFetch({ variable: () => undefined, isPatient });
      expect((await send(`http://127.0.0.1:${plain}/`)).status).toBe(200);
    }
  } finally {
    globalThis.fetch = own;
  }
  const isNode = !("Bun" in globalThis) && !("Deno" in globalThis);
  expect(given.map(({ timeout, dispatcher }) => [timeout, dispatcher !== undefined])).toEqual([
    [undefined, false],
    [false, isNode],
  ]);
});

describe("sendByNode()", () => {
  // Each request left a listener behind, and its answer with it, for as long as the signal of the program lived.
  test.each(["/token", "/empty"])("listens for an abort no longer than the answer to %s takes", async (path) => {
    const { signal, count } = countedSignal(), headers = new Headers(), method = "GET", body = null;
    const proxy = new URL(`http://127.0.0.1:${(await startProxy()).port}`), certificates = [authority.cert];
    const ways = [
      [`http://localhost:${plain}${path}`, { proxy: "direct" }],
      [`https://login.contoso.com${path}`, { proxy, certificates }],
    ] as const;
    for (const [url, route] of ways) {
      const request = { url: new URL(url), headers, method, body, signal, redirect: "manual" } as const;
      await (await sendByNode(request, route)).text();
    }
    while (count() > 0) await new Promise((resolve) => setTimeout(resolve)); // for ever if one is left
  });
});

describe("makeFetch() without a proxy", () => {
  test("sends a form", async () => {
    const { method, url, body, headers } = await receivedBy(fetchWith({})(`http://localhost:${plain}/token?x=y`, form));
    expect({ method, url, body }).toEqual({ method: "POST", url: "/token?x=y", body: FORM_TEXT });
    expect(headers["content-type"]).toMatch(/^application\/x-www-form-urlencoded;charset=utf-8$/i);
  });

  test("tells that a certificate's issuer is not known, and what to set", async () => {
    expect(await rejection(fetchWith({})(`https://localhost:${secure}/`))).toMatchObject({
      name: "LatchkeyError",
      code: "configuration",
      hint: trustHint,
    });
  });

  test.each(["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "DENO_CERT"])("trusts the file that %s names", async (name) => {
    const send = fetchWith({ [name]: trusted.SSL_CERT_FILE! });
    const { body, headers } = await receivedBy(send(`https://localhost:${secure}/token`, form));
    expect(body).toBe(FORM_TEXT);
    expect(headers["content-type"]).toMatch(/^application\/x-www-form-urlencoded/);
    expect((await receivedBy(send(`https://localhost:${secure}/again`))).url).toBe("/again");
  });

  test("trusts the files of the folders that SSL_CERT_DIR names", async () => {
    const send = fetchWith({ SSL_CERT_DIR: [join(folder, "nowhere"), folder].join(delimiter) });
    expect((await receivedBy(send(`https://localhost:${secure}/`))).method).toBe("GET");
  });

  test("is not led astray by files that are missing or are none", async () => {
    const other = join(folder, "other.txt");
    await writeFile(other, "-----BEGIN CERTIFICATE-----\nsecret");
    for (const file of [other, join(folder, "nowhere"), folder]) {
      const error = await rejection(fetchWith({ SSL_CERT_FILE: file })(`https://localhost:${secure}/`));
      expect(error).toMatchObject({ code: "configuration", hint: trustHint });
    }
  });

  test("tells a certificate that is out of time", async () => {
    expect(await rejection(fetchWith(trusted)(`https://localhost:${expired}/`))).toMatchObject({
      code: "configuration",
      hint: expect.stringContaining("clock"),
    });
  });

  test("tells a certificate of another host", async () => {
    expect(await rejection(fetchWith(trusted)(`https://127.0.0.1:${secure}/`))).toMatchObject({
      code: "configuration",
      message: expect.stringContaining("another host"),
    });
  });

  test("tells a server that does not speak TLS, and one that is not there", async () => {
    expect(await rejection(fetchWith({})(`https://localhost:${plain}/`))).toMatchObject({
      ...{ code: "no_network", message: expect.stringContaining("not speak TLS") },
    });
    const server = net.createServer(), port = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    expect(await rejection(fetchWith({})(`https://localhost:${port}/?code=secret`))).toMatchObject({
      code: "no_network",
      message: "Cannot reach localhost: the connection was refused",
    });
  });

  // "Check the network" was all that Deno and Node said.
  test("tells a server whose TLS is too old", async () => {
    // The alert of RFC 5246, 7.2.2, which OpenSSL's server sends that is limited to TLS 1.0: fatal, protocol_version.
    const alert = Uint8Array.from([21, 3, 1, 0, 2, 2, 70]);
    const port = await listen(net.createServer((socket) => {
      socket.on("error", () => {}).once("data", () => socket.end(alert));
    }));
    expect(await rejection(fetchWith({})(`https://localhost:${port}/`))).toMatchObject({
      code: "no_network",
      message: expect.stringMatching(/^Cannot reach localhost: it .*neither (TLS|version) 1\.2 nor 1\.3$/),
      hint: expect.stringMatching(/^Ask the server's administrator to enable TLS 1\.2 or 1\.3/),
    });
  });

  test("follows no redirect", async () => {
    for (const url of [`http://localhost:${plain}/redirect`, `https://localhost:${secure}/redirect`]) {
      const response = await fetchWith(trusted)(url);
      expect(response.status).toBe(302);
      expect(await rejection(fetchWith(trusted)(url, { redirect: "error" }))).toMatchObject({
        code: "invalid_response",
      });
    }
  });

  test("gives status, header fields and an empty body", async () => {
    for (const base of [`http://localhost:${plain}`, `https://localhost:${secure}`]) {
      const response = await fetchWith(trusted)(`${base}/`);
      expect(response.headers.get("x-test")).toBe("a");
      expect(response.ok).toBe(true);
      await response.text();
      const empty = await fetchWith(trusted)(`${base}/empty`);
      expect([empty.status, await empty.text()]).toEqual([204, ""]);
    }
  });

  test("throws the reason of an abort, before and while the server is silent", async () => {
    const silent = await listen(net.createServer((socket) => void socket.on("error", () => {}))),
      reason = new Error("enough");
    for (const url of [`http://localhost:${silent}/`, `https://localhost:${silent}/`]) {
      expect(await rejection(fetchWith({})(url, { signal: AbortSignal.abort(reason) }))).toBe(reason);
      const controller = new AbortController(), running = rejection(fetchWith({})(url, { signal: controller.signal }));
      controller.abort(reason);
      expect(await running).toBe(reason);
    }
  });

  test("ends the reading of an answer at an abort", async () => {
    for (const base of [`http://localhost:${plain}`, `https://localhost:${secure}`]) {
      const controller = new AbortController();
      const response = await fetchWith(trusted)(`${base}/stall`, { signal: controller.signal });
      const read = rejection(response.text());
      controller.abort(new Error("enough"));
      expect(await read).toBeInstanceOf(Error);
    }
  });
});

describe("makeFetch() through a proxy", () => {
  const LOGIN = "https://login.contoso.com";

  test("opens a tunnel to the server", async () => {
    const proxy = await startProxy(), send = fetchWith({ ...trusted, HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` });
    const { method, url, body, headers } = await receivedBy(send(`${LOGIN}/token?x=y`, form));
    expect({ method, url, body }).toEqual({ method: "POST", url: "/token?x=y", body: FORM_TEXT });
    expect(headers.host).toBe("login.contoso.com");
    expect(new Set(proxy.requests.map(({ line }) => line))).toEqual(new Set(["CONNECT login.contoso.com:443"]));
    expect(proxy.requests.every(({ credentials }) => credentials === undefined)).toBe(true);
  });

  test("names itself to the proxy, and to the proxy alone", async () => {
    const credentials = "jane@contoso.com:p:ä%ss", proxy = await startProxy({ credentials });
    const user = credentials.split(":").map(encodeURIComponent);
    const address = `http://${user[0]}:${user.slice(1).join("%3A")}@127.0.0.1:${proxy.port}`;
    const send = fetchWith({ ...trusted, https_proxy: address });
    const answers = await Promise.all(["/1", "/2", "/3"].map((path) => receivedBy(send(`${LOGIN}${path}`, form))));
    expect(answers.map(({ url, body }) => [url, body])).toEqual(["/1", "/2", "/3"].map((path) => [path, FORM_TEXT]));
    for (const { headers } of answers) expect(headers).not.toHaveProperty("proxy-authorization");
    expect(new Set(proxy.requests.map((request) => request.credentials))).toEqual(new Set([credentials]));
  });

  test("speaks TLS with the proxy where it is an https:// one", async () => {
    const proxy = await startProxy({ certificate: authority.issue(["localhost"]), credentials: "jane:secret" });
    const send = fetchWith({ ...trusted, HTTPS_PROXY: `https://jane:secret@localhost:${proxy.port}` });
    expect((await receivedBy(send(`${LOGIN}/x`, form))).body).toBe(FORM_TEXT);
  });

  // Deno waited for 30 seconds where such a proxy wants no password.
  test("speaks TLS with a proxy that wants no password", async () => {
    const proxy = await startProxy({ certificate: authority.issue(["localhost"]) });
    const send = fetchWith({ ...trusted, HTTPS_PROXY: `https://localhost:${proxy.port}` });
    expect((await receivedBy(send(`${LOGIN}/x`, form))).body).toBe(FORM_TEXT);
  });

  // Deno reads the proxy from the environment by itself, and of NO_PROXY neither ports nor `*`.
  test.each([(port: number) => `0.0.0.0:${port}`, () => "*"])(
    "goes past the proxy of the environment for NO_PROXY",
    async (entry) => {
      const port = await listen(https.createServer(authority.issue(["0.0.0.0"]), answer)), proxy = await startProxy();
      const variables = { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`, NO_PROXY: entry(port) };
      const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
      Object.assign(process.env, variables);
      try {
        const { body } = await receivedBy(fetchWith({ ...trusted, ...variables })(`https://0.0.0.0:${port}/x`, form));
        expect({ body, requests: proxy.requests }).toEqual({ body: FORM_TEXT, requests: [] });
      } finally {
        for (const [name, value] of before) {
          if (value === undefined) delete process.env[name];
          else process.env[name] = value;
        }
      }
    },
  );

  test.each(["", "jane:wrong-secret@"])("tells that the proxy wants another password than %p", async (user) => {
    const proxy = await startProxy({ credentials: "jane:secret" });
    const error = await rejection(fetchWith({ HTTPS_PROXY: `http://${user}127.0.0.1:${proxy.port}` })(LOGIN));
    expect(error).toMatchObject({ code: "configuration", hint: expect.stringContaining("HTTPS_PROXY") });
    expect(inspect(error)).not.toContain("secret");
  });

  test("tells that the proxy does not connect, or is not there", async () => {
    const proxy = await startProxy({ status: 503 });
    for (const user of ["", "jane:secret@"]) {
      const send = fetchWith({ HTTPS_PROXY: `http://${user}127.0.0.1:${proxy.port}` });
      const error = await rejection(send(`${LOGIN}/?code=secret`));
      expect(error).toMatchObject({ code: "no_network", message: expect.stringContaining(`127.0.0.1:${proxy.port}`) });
      expect(inspect(error)).not.toContain("secret");
    }
    proxy.stop();
    const error = await rejection(fetchWith({ ALL_PROXY: `127.0.0.1:${proxy.port}` })(LOGIN));
    expect(error).toMatchObject({ code: "no_network", message: expect.stringContaining(`127.0.0.1:${proxy.port}`) });
  });

  test("tells that the issuer of a certificate inside the tunnel is not known", async () => {
    const proxy = await startProxy();
    expect(await rejection(fetchWith({ HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` })(LOGIN))).toMatchObject({
      code: "configuration",
      hint: trustHint,
    });
  });

  test("asks the proxy for what is not secured, and names itself", async () => {
    const proxy = await startProxy({ credentials: "jane:secret" });
    const send = fetchWith({ HTTP_PROXY: `http://jane:secret@127.0.0.1:${proxy.port}` });
    expect(await (await send("http://login.contoso.com/x?y=z")).text()).toBe("by proxy");
    expect(proxy.requests).toEqual([{ line: "GET http://login.contoso.com/x?y=z", credentials: "jane:secret" }]);
    expect(await rejection(fetchWith({ HTTP_PROXY: `127.0.0.1:${proxy.port}` })("http://login.contoso.com/")))
      .toMatchObject({ code: "configuration", hint: expect.stringContaining("HTTP_PROXY") });
  });

  test("asks a proxy that speaks TLS for what is not secured", async () => {
    const proxy = await startProxy({ certificate: authority.issue(["localhost"]) });
    const send = fetchWith({ ...trusted, HTTP_PROXY: `https://localhost:${proxy.port}` });
    expect(await (await send("http://login.contoso.com/x")).text()).toBe("by proxy");
  });

  test("goes straight to what is on loopback", async () => {
    const proxy = await startProxy(), address = `http://127.0.0.1:${proxy.port}`;
    const send = fetchWith({ ...trusted, HTTPS_PROXY: address, HTTP_PROXY: address });
    expect((await receivedBy(send(`http://localhost:${plain}/x`, form))).body).toBe(FORM_TEXT);
    expect((await receivedBy(send(`https://localhost:${secure}/x`, form))).body).toBe(FORM_TEXT);
    expect(proxy.requests).toEqual([]);
  });

  test("throws the reason of an abort while the proxy is silent, and behind it the server", async () => {
    const silent = await listen(net.createServer((socket) => void socket.on("error", () => {}))),
      reason = new Error("enough");
    const proxy = await startProxy({ port: silent });
    for (const port of [silent, proxy.port]) {
      for (const user of ["", "jane:secret@"]) {
        const controller = new AbortController(), { signal } = controller;
        const running = rejection(fetchWith({ HTTPS_PROXY: `http://${user}127.0.0.1:${port}` })(LOGIN, { signal }));
        controller.abort(reason);
        expect(await running).toBe(reason);
      }
    }
  });
});
