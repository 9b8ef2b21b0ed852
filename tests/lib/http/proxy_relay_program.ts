// On Deno: strangers at a relay, then our own client. argv: the file of the authority, the port of the proxy, a guess.
import { openProxyRelay } from "../../../lib/http/proxy.ts";

const [file = "", proxyPort = "", guessed = ""] = Deno.args, caCerts = [Deno.readTextFileSync(file)];
const url = new URL("https://login.contoso.com/x");
const relay = openProxyRelay(Deno, url, { proxy: new URL(`http://127.0.0.1:${proxyPort}`), caCerts });
const port = Number(new URL(relay.proxy.url).port);

/** All that a stranger is answered who sends something. */
async function answerTo(bytes: readonly number[]): Promise<number[]> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(Uint8Array.from(bytes));
  const received: number[] = [];
  try {
    for await (const chunk of connection.readable) received.push(...chunk);
  } catch {
    // it was reset
  }
  return received;
}

const guess = [...new TextEncoder().encode(guessed)];
const strangers = [
  await answerTo([...new TextEncoder().encode("CONNECT login.contoso.com:443 HTTP/1.1\r\n\r\n")]),
  await answerTo([5, 1, 0]),
  await answerTo([5, 1, 2, 1, 1, 120, guess.length, ...guess]),
];
// One that says nothing does not hold up ours.
const silent = await Deno.connect({ hostname: "127.0.0.1", port });
const client = Deno.createHttpClient({ caCerts, poolMaxIdlePerHost: 0, proxy: relay.proxy });
const status = (await fetch(url, { client } as RequestInit)).status;
silent.close();
Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify({ strangers, status })));
Deno.exit(0);
