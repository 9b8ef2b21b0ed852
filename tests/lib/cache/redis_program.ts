// A machine of a web app's, for the tests of redisStore: redis_program.ts SOCKET NAME write|renew|hold COUNT
import process from "node:process";
import { redisStore } from "../../../lib/redis.ts";
import { connectNodeRedis } from "../../tools/redis_clients.ts";

const [socket = "", name = "", task = "", count = "1"] = process.argv.slice(2);
const redis = await connectNodeRedis(socket), store = redisStore(redis.client);
const numbers = Array.from({ length: Number(count) }, (_, number) => number);

// All machines begin at once.
await redis.send("INCR", "ready");
process.stdout.write("ready\n");
await redis.send("BLPOP", "go", "0");

if (task === "write") await Promise.all(numbers.map(write));
if (task === "renew") await Promise.all(numbers.map(renew));
if (task === "hold") await hold();
await redis[Symbol.asyncDispose]();

async function write(number: number): Promise<void> {
  const field = `${name}-${number}`;
  await store.update("jane", (document = "{}") => JSON.stringify({ ...JSON.parse(document), [field]: number }));
  await store.update(field, () => JSON.stringify({ Account: { [field]: {} } }));
}

/** Renews as a token source does: whoever had to wait looks first. */
async function renew(): Promise<void> {
  await store.withLock!("jane", async () => {
    await redis.send("RPUSH", "at-work", String(await redis.send("INCR", "working")));
    if (await store.read("jane") === undefined) {
      await redis.send("INCR", "renewals");
      await store.update("jane", () => "{}");
    }
    await redis.send("DECR", "working");
  });
}

/** Holds a lock until the process is killed. */
async function hold(): Promise<void> {
  await store.withLock!("jane", async () => {
    process.stdout.write("holds\n");
    await redis.send("BLPOP", "never", "0");
  });
}
