// etcd3 for node: its calls, one scenario; what comes of each is printed.
//
// `node etcd3_node.mjs scenario|failover ENDPOINT,ENDPOINT,ENDPOINT`, with CLIENTS naming the folder that `make clients`
// installs into.

import { createRequire } from "node:module";
import { once } from "node:events";
import readline from "node:readline";
import { setTimeout as pause } from "node:timers/promises";

const { Etcd3 } = createRequire(`${process.env.CLIENTS}/node/`)("etcd3");

const MODE = process.argv[2];
const ENDPOINTS = process.argv[3].split(",");
const PATIENCE_MS = 40_000;
// The client's default isolation never succeeds with two keys that were written at different revisions.
const SERIALIZABLE = 1;

const show = (...parts) => console.log(parts.map((part) => (typeof part === "string" ? part : JSON.stringify(part))).join(" "));

function connect(hosts, options = {}) {
  return new Etcd3({ hosts: hosts.map((host) => `http://${host}`), ...options });
}

async function failure(promise) {
  try {
    return `no error: ${JSON.stringify(await promise)}`;
  } catch (error) {
    return `${error.constructor.name}: ${error.message}`;
  }
}

async function guarded(part, ...given) {
  console.log(`-- ${part.name}`);
  try {
    await part(...given);
  } catch (error) {
    console.error(error);
    console.log(`${part.name} ended: ${error.constructor.name}`);
  }
}

async function revision(client) {
  return Number((await client.get("revision").exec()).header.revision);
}

async function keys(client) {
  show("nothing", await client.get("n/none").string());
  await client.put("n/1").value("one");
  await client.put("n/2").value(22);
  await client.put("n/3").value(Buffer.from([0, 255, 10]));
  show("get", await client.get("n/1").string(), await client.get("n/2").number(), (await client.get("n/3").buffer()).toString("hex"));
  show("json", await client.put("n/json").value(JSON.stringify({ a: [1] })).exec() !== null, await client.get("n/json").json());
  show("exists", await client.get("n/1").exists(), await client.get("n/none").exists());
  show("previous", (await client.put("n/1").value("uno").getPrevious()).value.toString());
  show("all", await client.getAll().prefix("n/").limit(2).strings());
  show("keys", await client.getAll().prefix("n/").keys(), await client.getAll().prefix("n/").count());
  show("sorted", await client.getAll().prefix("n/").sort("Mod", "Descend").keys());
  show("range", await client.getAll().inRange({ start: "n/2", end: "n/4" }).keys());
  const namespace = client.namespace("space/");
  await namespace.put("n/1").value("inside");
  show("namespace", await namespace.getAll().strings(), await client.get("space/n/1").string());
  const before = await revision(client);
  await client.put("n/1").value("tres");
  show("of revision", await client.get("n/1").revision(before).string());
  show("delete", (await client.delete().key("n/1")).deleted, (await client.delete().prefix("n/")).deleted);
  show("namespace", (await namespace.delete().all()).deleted);
  show("future", await failure(client.get("n/1").revision(before + 1_000_000).string()));
  show("empty", await failure(client.put("").value("1").exec()));
}

async function transactions(client) {
  await client.put("o/1").value("1");
  const one = await client
    .if("o/1", "Value", "==", "1")
    .and("o/2", "Create", "==", 0)
    .then(client.put("o/2").value("2"), client.get("o/1"), client.delete().key("o/1"))
    .else(client.get("o/2"))
    .commit();
  show("taken", one.succeeded, one.responses.map((part) => part.response));
  const other = await client.if("o/1", "Version", ">", 0).then(client.put("o/3").value("3")).else(client.get("o/2")).commit();
  show("not taken", other.succeeded, other.responses[0].response_range.kvs[0].value.toString());
  await client.put("o/from").value(100);
  await client.put("o/to").value(0);
  const moves = Array.from({ length: 4 }, () =>
    client.stm({ retries: 50, isolation: SERIALIZABLE }).transact(async (tx) => {
      const from = await tx.get("o/from").number();
      const to = await tx.get("o/to").number();
      await tx.put("o/from").value(from - 10);
      await tx.put("o/to").value(to + 10);
    }),
  );
  await Promise.all(moves);
  show("stm", await client.get("o/from").number(), await client.get("o/to").number());
  await client.delete().prefix("o/");
}

async function watches(client) {
  const watcher = await client.watch().prefix("p/").withPreviousKV().create();
  const events = [];
  const enough = new Promise((resolve) => {
    const take = (kind) => (kv, previous) => {
      events.push([kind, kv.key.toString(), kv.value.toString(), previous ? previous.value.toString() : null]);
      if (events.length === 4) resolve();
    };
    watcher.on("put", take("put")).on("delete", take("delete"));
  });
  await client.put("p/1").value("1");
  await client.put("elsewhere").value("1");
  await client.put("p/1").value("2");
  await client.delete().key("p/1");
  await client.put("p/2").value("3");
  await enough;
  show("watched", events);
  await watcher.cancel();
  const only = await client.watch().key("p/3").only("delete").create();
  const deleted = once(only, "delete");
  await client.put("p/3").value("1");
  await client.delete().key("p/3");
  show("only deletes", (await deleted)[0].key.toString());
  await only.cancel();
  const start = await revision(client);
  for (const value of "123") await client.put("p/4").value(value);
  const history = [];
  const late = client.watch().key("p/4").startRevision(String(start + 1)).watcher();
  await new Promise((resolve) => late.on("put", (kv) => history.push(kv.value.toString()) === 3 && resolve()));
  show("history", history);
  await late.cancel();
  await client.kv.compact({ revision: String(start + 2) });
  const compacted = client.watch().key("p/4").startRevision(String(start + 1)).watcher();
  const [said] = await once(compacted, "error");
  show("compacted", said.constructor.name, said.message.startsWith("Watcher canceled"));
}

async function leases(client) {
  const lease = client.lease(60);
  await lease.put("q/1").value("1");
  const id = await lease.grant();
  show("of key", (await client.get("q/1").exec()).kvs[0].lease === id);
  const times = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
  show("ttl", times.grantedTTL, Number(times.TTL) >= 58, times.keys.map(String));
  show("once", (await lease.keepaliveOnce()).TTL);
  await lease.revoke();
  show("revoked", await client.get("q/1").string(), await failure(client.leaseClient.leaseRevoke({ ID: id })));
  const kept = client.lease(2);
  await kept.put("q/kept").value("1");
  let answered = 0;
  await new Promise((resolve) => kept.on("keepaliveSucceeded", () => ++answered === 4 && resolve()));
  show("kept alive", await client.get("q/kept").string());
  const gone = once(await client.watch().key("q/kept").create(), "delete");
  kept.release();
  await gone;
  show("released and expired", await client.get("q/kept").string());
  const lost = client.lease(30);
  await lost.put("q/lost").value("1");
  const loss = once(lost, "lost");
  await client.leaseClient.leaseRevoke({ ID: await lost.grant() });
  await lost.keepaliveOnce().catch(() => {});
  show("lost", (await loss)[0].constructor.name);
}

async function locks(client, other) {
  const lock = client.lock("guard").ttl(10);
  await lock.acquire();
  show("refused", (await failure(other.lock("guard").acquire())).split(":")[0]);
  await lock.release();
  show("then", await other.lock("guard").do(async () => "done"));
  const served = client.lease(30);
  const held = await client.lockClient?.lock({ name: Buffer.from("served"), lease: await served.grant() });
  show("lock service", held ? held.key.toString().startsWith("served/") : "not offered by this client");
  await served.revoke();
}

async function elections(client, other) {
  const [one, two] = [client.election("vote", 10), other.election("vote", 10)];
  const first = one.campaign("one");
  await once(first, "elected");
  const observer = await two.observe();
  show("leader", await two.leader(), observer.leader());
  const changed = new Promise((resolve) => observer.on("change", (value) => value === "uno" && resolve(value)));
  await first.proclaim("uno");
  show("proclaimed", await changed);
  const second = two.campaign("two");
  const elected = once(second, "elected");
  await first.resign();
  await elected;
  show("succeeded by", await one.leader());
  await second.resign();
  show("nobody", (await one.leader()) ?? null);
  await observer.cancel();
}

async function users(client, endpoint) {
  const own = await client.role("own").create();
  await own.grant({ permission: "Readwrite", key: "own/1" });
  const ann = await client.user("ann").create("pass");
  await ann.addRole("own");
  await client.user("root").create("secret").then((root) => root.addRole("root"));
  show("before", (await client.getRoles()).map((role) => role.name), (await client.getUsers()).map((user) => user.name));
  await client.auth.authEnable();
  const root = connect([endpoint], { auth: { username: "root", password: "secret" } });
  try {
    show("nobody", await failure(client.get("own/1").string()));
    const wrong = connect([endpoint], { auth: { username: "ann", password: "wrong" } });
    show("wrong", await failure(wrong.get("own/1").string()));
    wrong.close();
    const asAnn = connect([endpoint], { auth: { username: "ann", password: "pass" } });
    await asAnn.put("own/1").value("1");
    show("own", await asAnn.get("own/1").string());
    show("others'", await failure(asAnn.get("n/1").string()), await failure(asAnn.put("n/1").value("1").exec()));
    asAnn.close();
    show("root", await root.get("own/1").string());
  } finally {
    await root.auth.authDisable();
    root.close();
  }
  for (const name of ["root", "ann"]) await client.user(name).delete();
  await client.role("own").delete();
  show("disabled", await client.get("own/1").string());
}

async function cluster(client) {
  const status = await client.maintenance.status();
  show("status", status.version, Number(status.dbSize) > 0, status.isLearner);
  const { members } = await client.cluster.memberList({});
  show("members", members.map((member) => member.name).sort());
  show("wrong", await failure(client.cluster.memberRemove({ ID: "1234" })));
}

async function scenario() {
  const [client, other] = [connect([ENDPOINTS[0]]), connect([ENDPOINTS[1]])];
  for (const part of [keys, transactions, watches, leases]) await guarded(part, client);
  for (const part of [locks, elections]) await guarded(part, client, other);
  await guarded(users, client, ENDPOINTS[0]);
  await guarded(cluster, client);
  client.close();
  other.close();
  const nowhere = connect(["127.0.0.1:1"]);
  show("refused", (await failure(nowhere.get("a").string())).split(":")[0]);
  nowhere.close();
}

// Raise the counter one by one. After an error nobody knows whether it was raised: it is read, until there is an answer.
async function raise(client, state, goal) {
  const deadline = Date.now() + PATIENCE_MS;
  while (state.acknowledged < goal) {
    if (Date.now() > deadline) throw new Error(`the counter has stood at ${state.acknowledged} for long`);
    try {
      const value = state.acknowledged + 1;
      const before = value > 1 ? client.if("counter", "Value", "==", value - 1) : client.if("counter", "Version", "==", 0);
      const done = await before.then(client.put("counter").value(value)).commit();
      if (done.succeeded) state.acknowledged = value;
      else reread(state, (await client.get("counter").number()) ?? 0);
    } catch (error) {
      state.errors.add(error.constructor.name);
      await pause(100);
      try {
        reread(state, (await client.get("counter").number()) ?? 0);
      } catch {
        continue;
      }
    }
  }
}

function reread(state, found) {
  if (found !== state.acknowledged && found !== state.acknowledged + 1)
    state.wrong.push(`${found} was read after ${state.acknowledged} was acknowledged`);
  state.acknowledged = Math.max(state.acknowledged, found);
}

// A counter is raised through all, watched, with a lock, a lease and an election held, while the leader dies.
async function failover() {
  const client = connect(ENDPOINTS);
  const first = connect([...ENDPOINTS].reverse().slice(0, 1));
  const watching = connect([ENDPOINTS[2], ENDPOINTS[0]]);
  const state = { acknowledged: 0, wrong: [], errors: new Set() };
  const seen = [];
  const watcher = await watching.watch().key("counter").create();
  watcher.on("put", (kv) => seen.push(Number(kv.value.toString())));
  const lease = client.lease(60);
  await lease.put("session").value("kept");
  const lock = client.lock("failover").ttl(60);
  await lock.acquire();
  const campaign = client.election("failover", 60).campaign("me");
  await once(campaign, "elected");
  await raise(first, state, 20);
  console.log("kill the leader");
  const lines = readline.createInterface({ input: process.stdin });
  await once(lines, "line");
  lines.close();
  await raise(client, state, 60);
  const last = await client.get("counter").number();
  const deadline = Date.now() + PATIENCE_MS;
  while (seen.at(-1) !== last && Date.now() < deadline) await pause(50);
  show("counted to", last, "wrong", state.wrong);
  show("watched every value once, in order:", seen.length === last && seen.every((value, at) => value === at + 1) ? true : seen);
  show("session", await client.get("session").string(), "leader", await client.election("failover").leader());
  show("lock", (await failure(connect([ENDPOINTS[0]]).lock("failover").acquire())).split(":")[0]);
  show("to the dead", (await failure(first.get("counter").string())).startsWith("no error"));
  await campaign.resign();
  await lock.release();
  await lease.revoke();
  await client.delete().key("counter");
  process.exit(0);
}

await (MODE === "scenario" ? scenario() : failover());
process.exit(0);
