//! What to open and to ask, so that each route is seen at work.

use super::{Service, StandIns};

/// Text for a terminal: a browser's addresses, then a command a line with what it shows.
/// `public` is where Pylon listens, as `http://127.0.0.1:8080`.
pub(in crate::demo) fn tour(public: &str, stand_ins: &StandIns) -> String {
    let public = public.trim_end_matches('/');
    let all = &stand_ins.addresses;
    let (data, manager, node) =
        (all.of(Service::DataNode), all.of(Service::ResourceManager), all.of(Service::NodeManager));
    let container = "container_1700000000000_0001_01_000001";
    format!(
        "\
Open in a browser
  {public}/                        the portal; its page names internal addresses only
  {public}/webhdfs/explorer.html   HDFS: browse, upload, download
  {public}/yarn/                   YARN: follow the links to the node manager and its logs
  {public}/grafana/                Grafana: sign-in by cookie, WebSocket
  {public}/kubernetes-dashboard/   a page with relative links
  {public}/prometheus/graph        Prometheus
  {public}/alert-manager/          Alertmanager

Ask from a shell
  # What a service sees of you: X-Forwarded-For, X-Request-Id and so on
  curl {public}/rest-server/api/v1/headers
  # A Location that leads back through Pylon
  curl -i {public}/rest-server/api/v2/jobs -H 'Content-Type: application/json' -d '{{\"name\":\"x\"}}'
  # Internal links in JSON, mapped
  curl {public}/rest-server/api/v2/jobs/mnist
  # Events as they happen
  curl -N {public}/rest-server/api/v1/events
  # A file in two steps: the name node names a data node, Pylon leads there
  curl -L -T /etc/hosts '{public}/webhdfs/api/v1/tmp/x?op=CREATE&overwrite=true'
  curl -L '{public}/webhdfs/api/v1/tmp/x?op=OPEN'
  # A watch and a log that stay open, and a session in a pod
  curl -N '{public}/kubernetes/api/v1/namespaces/default/pods?watch=true'
  kubectl -s {public}/kubernetes logs -f worker-0
  kubectl -s {public}/kubernetes exec -it worker-0 -- sh
  # Any node that is on the allow-list, by its address; others are refused
  curl {public}/log-manager/{node}/node/containerlogs/{container}/root
  curl -i {public}/yarn/{manager}/
  curl {public}/a/{data}/
  curl -i {public}/a/192.0.2.1:80/
  # Large bodies, in constant memory
  head -c 2000000000 /dev/zero | curl -X POST -T - {public}/upload
  curl -o /dev/null '{public}/download?bytes=10000000000'
"
    )
}
